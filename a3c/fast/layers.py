"""Layers that keep their outputs while acting, for the backward pass.

Each layer of a network becomes a `Recorded`. `bind` allots memory for one step of acting and
returns the call that fills it. `replay` returns the outputs of all steps at once, as a node of
autograd's graph. Its gradients are those of the plain layer, to rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from a3c.fast.kernels import (
    ACTIVATIONS,
    Activation,
    Call,
    convolution_into,
    empty,
    linear_into,
    output_shape,
)

_aten = torch.ops.aten


class Memory:
    """Memory [T * B, ...] for T steps of B environments, one row of B per step.

    It is allocated at the first call of `row`, which determines B and the shape.
    """

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self._whole: Tensor | None = None
        self._rows: tuple[Tensor, ...] = ()

    @property
    def whole(self) -> Tensor:
        """All rows [T * B, ...]."""
        assert self._whole is not None
        return self._whole

    def row(self, t: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the row [B, ...] of step t."""
        if self._whole is None:
            # Autograd accepts tensors that were filled in inference mode, but none that were
            # allocated in it.
            with torch.inference_mode(False):
                self._whole = empty((self._num_steps * shape[0], *shape[1:]), dtype)
                self._rows = torch.split(self._whole, shape[0])
        return self._rows[t]


class Recorded(Protocol):
    """A layer with memory for T steps."""

    def bind(self, t: int, x: Tensor) -> tuple[Tensor, Call]:
        """Return the layer's output of step t, and the call that computes it from x [B, ...]."""

    def replay(self, x: Tensor) -> Tensor:
        """Return the outputs [T * B, ...] with gradients, for the replayed inputs x."""


def record(module: nn.Module, num_steps: int) -> list[Recorded]:
    """Return recorded layers for the layers of an `nn.Sequential`, however nested.

    A linear map and the activation behind it become one recorded layer. A module that is not a
    standard layer is called as it is, and computed anew when it is replayed.
    """
    layers, recorded = [*_flattened(module)], list[Recorded]()
    for i, layer in enumerate(layers):
        following = layers[i + 1] if i + 1 < len(layers) else None
        if isinstance(layer, nn.Linear):
            recorded.append(RecordedLinear(layer, _activation(following), num_steps))
        elif isinstance(layer, nn.Conv2d):
            recorded.append(RecordedConvolution(layer, _activation(following), num_steps))
        elif isinstance(layer, nn.Flatten):
            recorded.append(RecordedFlatten())
        elif type(layer) not in ACTIVATIONS:
            recorded.append(RecordedModule(layer, num_steps))
    return recorded


def bind(layers: Sequence[Recorded], t: int, x: Tensor) -> tuple[Tensor, list[Call]]:
    """Bind consecutive layers for step t; return the last output and all calls."""
    calls = []
    for layer in layers:
        x, call = layer.bind(t, x)
        calls.append(call)
    return x, calls


def replay(layers: Sequence[Recorded], x: Tensor) -> list[Tensor]:
    """Replay consecutive layers; return the input and the outputs of each."""
    outputs = [x]
    for layer in layers:
        outputs.append(layer.replay(outputs[-1]))
    return outputs


def _flattened(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _flattened(child)
    else:
        yield module


def _activation(module: nn.Module | None) -> Activation | None:
    return ACTIVATIONS.get(type(module))  # type: ignore[arg-type]


class RecordedLinear:
    """φ(x Wᵀ + b)."""

    def __init__(self, layer: nn.Linear, activation: Activation | None, num_steps: int) -> None:
        self._layer, self._activation = layer, activation
        self._memory = Memory(num_steps)

    def bind(self, t: int, x: Tensor) -> tuple[Tensor, Call]:
        """See `Recorded`."""
        layer, activation = self._layer, self._activation
        row = self._memory.row(t, (len(x), layer.out_features))
        product = linear_into(x, layer.weight, layer.bias, row)
        if activation is None:
            return row, product

        def call() -> None:
            product()
            activation.into(row, row)

        return row, call

    def replay(self, x: Tensor) -> Tensor:
        """See `Recorded`."""
        given = _Given(self._memory.whole, self._layer, self._activation)
        weight, bias = self._layer.weight, self._layer.bias
        y: Tensor = _ReplayedLinear.apply(x, weight, bias, given)  # type: ignore[no-untyped-call]
        return y


class RecordedConvolution:
    """φ(W * x + b)."""

    def __init__(self, layer: nn.Conv2d, activation: Activation | None, num_steps: int) -> None:
        self._layer, self._activation = layer, activation
        self._memory, self._scratch = Memory(num_steps), list[Tensor]()

    def bind(self, t: int, x: Tensor) -> tuple[Tensor, Call]:
        """See `Recorded`."""
        row = self._memory.row(t, output_shape(self._layer, x), x.dtype)
        return row, convolution_into(x, self._layer, self._activation, row, self._scratch)

    def replay(self, x: Tensor) -> Tensor:
        """See `Recorded`."""
        given = _Given(self._memory.whole, self._layer, self._activation)
        weight, bias = self._layer.weight, self._layer.bias
        y: Tensor = _ReplayedConv.apply(x, weight, bias, given)  # type: ignore[no-untyped-call]
        return y


class RecordedFlatten:
    """[B, C, H, W] -> float32 [B, C * H * W]; one row of memory serves all steps."""

    def __init__(self) -> None:
        self._flat: Tensor | None = None

    def bind(self, t: int, x: Tensor) -> tuple[Tensor, Call]:
        """See `Recorded`."""
        if self._flat is None:
            self._flat = empty((len(x), x[0].numel()))
        flat, image = self._flat, self._flat.view(x.shape)
        return flat, lambda: image.copy_(x)

    def replay(self, x: Tensor) -> Tensor:
        """See `Recorded`."""
        return x.flatten(1).float()


class RecordedModule:
    """Any module that gives features [B, F]; `replay` computes it anew."""

    def __init__(self, module: nn.Module, num_steps: int) -> None:
        self._module, self._memory = module, Memory(num_steps)

    def bind(self, t: int, x: Tensor) -> tuple[Tensor, Call]:
        """See `Recorded`."""
        module = self._module
        row = self._memory.row(t, tuple(module(x).shape))
        return row, lambda: row.copy_(module(x))

    def replay(self, x: Tensor) -> Tensor:
        """See `Recorded`."""
        y: Tensor = self._module(x)
        return y


@dataclass(frozen=True)
class _Given:
    output: Tensor  # φ(layer(x)), already computed
    layer: nn.Linear | nn.Conv2d
    activation: Activation | None

    def before_activation(self, gradient: Tensor) -> Tensor:
        if self.activation is None:
            return gradient
        return self.activation.gradient(gradient, self.output)


class _ReplayedLinear(torch.autograd.Function):
    """y = φ(x Wᵀ + b), already computed.

    ∂/∂x = g W, ∂/∂W = gᵀ x, ∂/∂b = Σ g, where g is the gradient by the input of φ.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, given: _Given) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.given = given  # type: ignore[attr-defined]
        return given.output.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        g = ctx.given.before_activation(gradient)  # type: ignore[attr-defined]
        d_x = g.mm(weight) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        return d_x, g.t().mm(x), g.sum(0), None


class _ReplayedConv(torch.autograd.Function):
    """y = φ(W * x + b), already computed."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, given: _Given) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.given = given  # type: ignore[attr-defined]
        return given.output.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        given: _Given = ctx.given  # type: ignore[attr-defined]
        layer = given.layer
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        d_x, d_weight, d_bias = _aten.convolution_backward(
            given.before_activation(gradient),
            x,
            weight.to(x.dtype),
            [weight.shape[0]],
            layer.stride,
            layer.padding,
            layer.dilation,
            False,
            [0, 0],
            layer.groups,
            [ctx.needs_input_grad[0], True, True],  # type: ignore[attr-defined]
        )
        return d_x, d_weight.float(), d_bias.float(), None
