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

from a3c.kernels import (
    Activation,
    Call,
    Scaling,
    convolution_into,
    convolve,
    empty,
    linear_into,
    output_shape,
    scale_,
    scale_into,
)

_aten = torch.ops.aten
Step = tuple[Tensor, Tensor, Tensor]  # policy, values, state


class Layers(Protocol):
    """What a network's layers are asked of."""

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """Observations [N, ...], scaled; images in the type that they are to be convolved in, others as float32."""

    def layer(self, layer: nn.Module, activation: Activation | None, x: Tensor) -> Tensor:
        """φ(layer(x)) for x [N, ...]; an nn.Linear, giving float32, or nn.Conv2d; without an activation φ is the identity."""

    def flatten(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C * H * W]."""

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """Memory, each [B, size], to be filled by a recurrent core's step; None if nothing is kept."""

    def run(self, call: Call) -> None:
        """Calls what fills that memory from other memory of this step."""

    def recorded(self, number: int) -> list[Tensor] | None:
        """What that memory was filled with, each [T, B, size]; None if nothing was kept."""


class Computing:
    """Each layer is computed anew and nothing is kept; images are convolved in `precision`."""

    def __init__(self, precision: torch.dtype = torch.float32) -> None:
        self._precision = precision

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        return scale_(
            empty(observations.shape, _type(observations, self._precision)).copy_(observations),
            scaling,
        )

    def layer(self, layer: nn.Module, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        if isinstance(layer, nn.Conv2d):
            y = convolve(x, layer)
        else:
            y = nn.functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype)).float()
        return y if activation is None else activation.function(y)

    def flatten(self, x: Tensor) -> Tensor:
        """See `Layers`."""
        return x.flatten(1)

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None

    def run(self, call: Call) -> None:
        """See `Layers`."""
        call()

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None


class Recording:
    """The memory of T steps of B environments: filled step by step while acting, replayed once.

    Once: the pass after that follows a change of the parameters, for which these are no longer the layers' outputs.

    Every step has memory of its own, the same in every segment. So what a step does is noted the first time, as calls with all
    their arguments bound, and the next time these calls are all that runs, as with a CUDA graph. Hence observations, state and
    parameters must stay where they are in memory.

    Images are convolved in `precision`, but float32 where a step has one: its calls are lean in that.
    """

    def __init__(
        self, num_steps: int, batch_size: int, precision: torch.dtype = torch.float32
    ) -> None:
        self._num_steps, self._batch_size = num_steps, batch_size
        self._precision = precision if batch_size > 1 else torch.float32
        self._whole: list[Tensor] = []  # [T * B, ...], in the order in which the network asks
        self._rows: list[tuple[Tensor, ...]] = []  # the same, as T views [B, ...]
        self._scratch: dict[object, list[Tensor]] = {}  # what needs no row of its own
        self._calls: list[list[Call]] = [[] for _ in range(num_steps)]
        self._results: list[Step | None] = [None] * num_steps
        self._step, self._next, self._fresh = 0, 0, False

    def step(self, t: int, network: Callable[[Layers], Step]) -> Step:
        """Step t of the segment, into its memory; after the last one the recording can be replayed."""
        self._fresh = t == self._num_steps - 1
        result = self._results[t]
        if result is None:
            self._step, self._next = t, 0
            result = self._results[t] = network(self)
        else:
            for call in self._calls[t]:
                call()
        return result

    def heads(self) -> tuple[Tensor, Tensor]:
        """What the steps gave: policy [T, B, A], values [T, B]."""
        policy, values = (
            whole.view(self._num_steps, self._batch_size, -1) for whole in self._whole[-2:]
        )
        return policy, values.squeeze(-1)

    def replay(self) -> Layers:
        """What was recorded, if all of it was and nobody has asked before; otherwise every layer is computed anew."""
        fresh, self._fresh = self._fresh, False
        if not fresh:
            return Computing(self._precision)
        return Replaying(self._whole, self._num_steps, self._batch_size)

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        row = self._row(observations.shape, _type(observations, self._precision))
        self.run(scale_into(observations, scaling, row))
        return row

    def layer(self, layer: nn.Module, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        if isinstance(layer, nn.Linear):
            row = self._row((self._batch_size, layer.out_features))
            self.run(linear_into(x, layer.weight, layer.bias, row))
            if activation is not None:
                self.run(lambda: activation.into(row, row))
        else:
            assert isinstance(layer, nn.Conv2d)
            row = self._row(output_shape(layer, x), x.dtype)
            self.run(
                convolution_into(x, layer, activation, row, self._scratch.setdefault(layer, []))
            )
        return row

    def flatten(self, x: Tensor) -> Tensor:
        """See `Layers`."""
        scratch = self._scratch.setdefault(
            self._next, []
        )  # one for each place where something is flattened
        if not scratch:
            scratch.append(empty((len(x), x[0].numel())))
        flat, image = scratch[0], scratch[0].view(x.shape)
        self.run(lambda: image.copy_(x))
        return flat

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return [self._row((self._batch_size, size)) for size in sizes]

    def run(self, call: Call) -> None:
        """See `Layers`."""
        self._calls[self._step].append(call)
        call()

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None

    def _row(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        index = self._next
        self._next += 1
        if index == len(self._rows):
            with torch.inference_mode(
                False
            ):  # autograd takes no tensors that were made in that mode, only filled in it
                self._whole.append(empty((self._num_steps * shape[0], *shape[1:]), dtype))
                self._rows.append(torch.split(self._whole[-1], shape[0]))
        return self._rows[index][self._step]


class Replaying:
    """Hands a recording out again, in the same order, for all T * B steps at once."""

    def __init__(self, whole: list[Tensor], num_steps: int, batch_size: int) -> None:
        self._whole = iter(whole)
        self._shape = num_steps, batch_size

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        return next(self._whole)

    def layer(self, layer: nn.Module, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        node = _ReplayedLinear if isinstance(layer, nn.Linear) else _ReplayedConv
        y: Tensor = node.apply(
            x, layer.weight, layer.bias, _Given(next(self._whole), layer, activation)
        )  # type: ignore[no-untyped-call]
        return y

    def flatten(self, x: Tensor) -> Tensor:
        """See `Layers`."""
        return x.flatten(1).float()

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return None

    def run(self, call: Call) -> None:
        """See `Layers`."""
        call()

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return [next(self._whole).view(*self._shape, -1) for _ in range(number)]


COMPUTING = Computing()


def _type(observations: Tensor, of_images: torch.dtype) -> torch.dtype:
    return of_images if observations.dim() == 4 else torch.float32


@dataclass(frozen=True)
class _Given:
    output: Tensor  # φ(layer(x)), known already
    layer: nn.Linear | nn.Conv2d
    activation: Activation | None

    def before_activation(self, gradient: Tensor) -> Tensor:
        return (
            gradient if self.activation is None else self.activation.gradient(gradient, self.output)
        )


class _ReplayedLinear(torch.autograd.Function):
    """y = φ(x Wᵀ + b), known already; ∂/∂x = g W, ∂/∂W = gᵀ x, ∂/∂b = Σ g with g the gradient before φ."""

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
    """y = φ(W * x + b), known already."""

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
        g = given.before_activation(gradient.contiguous(memory_format=torch.channels_last))
        d_x, d_weight, d_bias = _aten.convolution_backward(
            g,
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
