"""Acting remembers: what each layer gave is kept, so that the pass which differentiates a segment computes no layer twice.

A network asks one of three for its layers. `Computing` computes them and leaves the rest to autograd. `Recording` computes
them without autograd, one step at a time, and keeps what they gave. `Replaying` hands that out for all steps at once, with a
node of autograd's graph behind each layer; its gradients are those of `Computing` to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

_aten = torch.ops.aten
Scaling = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """A nonlinearity y = φ(x) whose derivative can be told from y."""

    function: Callable[[Tensor], Tensor]
    into: Callable[[Tensor, Tensor], Tensor]  # (x, out) -> out; both may be the same memory
    gradient: Callable[[Tensor, Tensor], Tensor]  # (∂/∂y, y) -> ∂/∂x


ACTIVATIONS = {
    "relu": Activation(
        torch.relu, lambda x, out: torch.clamp_min(x, 0.0, out=out), lambda g, y: _aten.threshold_backward(g, y, 0.0)
    ),
    "tanh": Activation(torch.tanh, lambda x, out: torch.tanh(x, out=out), lambda g, y: _aten.tanh_backward(g, y)),
    "elu": Activation(
        nn.functional.elu, lambda x, out: _aten.elu.out(x, out=out), lambda g, y: _aten.elu_backward(g, 1.0, 1.0, 1.0, True, y)
    ),
}


class Layers(Protocol):
    """What a network's layers are asked of."""

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """Observations [N, ...] as scaled float32."""

    def layer(self, layer: nn.Linear | nn.Conv2d, activation: Activation | None, x: Tensor) -> Tensor:
        """φ(layer(x)) for x [N, ...]; without an activation φ is the identity."""

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """Memory, each [B, size], to be filled by a recurrent core's step; None if nothing is kept."""

    def recorded(self, number: int) -> list[Tensor] | None:
        """What that memory was filled with, each [T, B, size]; None if nothing was kept."""


class Computing:
    """Each layer is computed anew and nothing is kept."""

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        return scaling(_empty(observations.shape).copy_(observations))

    def layer(self, layer: nn.Linear | nn.Conv2d, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        y: Tensor = layer(x)
        return y if activation is None else activation.function(y)

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None


class Recording:
    """The memory of T steps of B environments, filled step by step while acting, and replayed once.

    Once: the pass after that follows a change of the parameters, for which these are no longer the layers' outputs.
    """

    def __init__(self, num_steps: int, batch_size: int) -> None:
        self._num_steps, self._batch_size = num_steps, batch_size
        self._whole: list[Tensor] = []  # [T * B, ...], in the order in which the network asks
        self._rows: list[tuple[Tensor, ...]] = []  # the same, as T views [B, ...]
        self._step, self._next, self._fresh = 0, 0, False

    def at(self, step: int) -> Recording:
        """This memory, now to be filled for `step`; after the last one it can be replayed."""
        self._step, self._next = step, 0
        self._fresh = step == self._num_steps - 1
        return self

    def replay(self) -> Layers:
        """What was recorded, if all of it was and nobody has asked before; otherwise every layer is computed anew."""
        fresh, self._fresh = self._fresh, False
        return Replaying(self._whole, self._num_steps, self._batch_size) if fresh else COMPUTING

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        return scaling(self._row(observations.shape).copy_(observations))

    def layer(self, layer: nn.Linear | nn.Conv2d, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        if isinstance(layer, nn.Linear):
            y = torch.addmm(layer.bias, x, layer.weight.t(), out=self._row((self._batch_size, layer.out_features)))
            return y if activation is None else activation.into(y, y)
        x = layer(x)
        y = self._row(x.shape)
        return y.copy_(x) if activation is None else activation.into(x, y)

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return [self._row((self._batch_size, size)) for size in sizes]

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None

    def _row(self, shape: tuple[int, ...]) -> Tensor:
        index = self._next
        self._next += 1
        if index == len(self._rows):
            with torch.inference_mode(False):  # autograd takes no tensors that were made in that mode, only filled in it
                self._whole.append(_empty((self._num_steps * shape[0], *shape[1:])))
                self._rows.append(self._whole[-1].split(shape[0]))
        return self._rows[index][self._step]


class Replaying:
    """Hands a recording out again, in the same order, for all T * B steps at once."""

    def __init__(self, whole: list[Tensor], num_steps: int, batch_size: int) -> None:
        self._whole = iter(whole)
        self._shape = num_steps, batch_size

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        return next(self._whole)

    def layer(self, layer: nn.Linear | nn.Conv2d, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        node = _ReplayedLinear if isinstance(layer, nn.Linear) else _ReplayedConv
        y: Tensor = node.apply(x, layer.weight, layer.bias, _Given(next(self._whole), layer, activation))  # type: ignore[no-untyped-call]
        return y

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return [next(self._whole).view(*self._shape, -1) for _ in range(number)]


COMPUTING = Computing()


@dataclass(frozen=True)
class _Given:
    output: Tensor  # φ(layer(x)), known already
    layer: nn.Linear | nn.Conv2d
    activation: Activation | None

    def before_activation(self, gradient: Tensor) -> Tensor:
        return gradient if self.activation is None else self.activation.gradient(gradient, self.output)


class _ReplayedLinear(torch.autograd.Function):
    """y = φ(x Wᵀ + b), known already; ∂/∂x = g W, ∂/∂W = gᵀ x, ∂/∂b = Σ g with g the gradient before φ."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, given: _Given) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.given = given  # type: ignore[attr-defined]
        return given.output.detach()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        g = ctx.given.before_activation(gradient)  # type: ignore[attr-defined]
        d_x = g.mm(weight) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        return d_x, g.t().mm(x), g.sum(0), None


class _ReplayedConv(torch.autograd.Function):
    """y = φ(W * x + b), known already."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, given: _Given) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.given = given  # type: ignore[attr-defined]
        return given.output.detach()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        given: _Given = ctx.given  # type: ignore[attr-defined]
        layer = given.layer
        g = given.before_activation(gradient.contiguous(memory_format=torch.channels_last))
        d_x, d_weight, d_bias = _aten.convolution_backward(
            g,
            x,
            weight,
            [weight.shape[0]],
            layer.stride,
            layer.padding,
            layer.dilation,
            False,
            [0, 0],
            layer.groups,
            [ctx.needs_input_grad[0], True, True],  # type: ignore[attr-defined]
        )
        return d_x, d_weight, d_bias, None


def _empty(shape: tuple[int, ...]) -> Tensor:
    # Images lie channels_last: a single channel left as it is would pass for contiguous, and the first layer's output would
    # then lie the other way round than its gradient, which costs more than the layer itself.
    return torch.empty(shape, memory_format=torch.channels_last if len(shape) == 4 else torch.contiguous_format)
