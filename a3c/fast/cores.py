"""Recurrent cores with a record of acting. The LSTM's backward pass through time is explicit."""

import functools
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from a3c.fast.kernels import Call, linear_into
from a3c.fast.layers import Memory
from a3c.networks.cores import GRU, LSTM, Core

Load = Callable[[Tensor], object]  # copies a state [B, S] into a step's memory


class RecordedCore(Protocol):
    """A recurrent core with memory for T steps."""

    def bind(self, t: int, features: Tensor) -> tuple[Tensor, Tensor, Load, Call]:
        """Return output, next state, the call that loads the state, and the call of the step.

        Output and next state are memory that the step's call fills from `features` [B, F].
        """

    def unroll(self, features: Tensor, state: Tensor, starts: Tensor, *, replayed: bool) -> Tensor:
        """Return the outputs [T, B, H] of T steps, with gradients; see `networks.cores`.

        `replayed`: the record holds exactly these steps.
        """


def record_core(core: Core, num_steps: int) -> RecordedCore:
    """Return a core with memory for `num_steps` steps."""
    return RecordedLSTM(core, num_steps) if isinstance(core, LSTM) else RecordedGRU(core, num_steps)


class RecordedGRU:
    """Steps of GRUCell. `unroll` computes every step anew, replayed or not."""

    def __init__(self, core: GRU, num_steps: int) -> None:
        self._core, self._before, self._after = core, Memory(num_steps), Memory(num_steps)

    def bind(self, t: int, features: Tensor) -> tuple[Tensor, Tensor, Load, Call]:
        """See `RecordedCore`."""
        shape, cell = (len(features), self._core.state_size), self._core.cell
        before, after = self._before.row(t, shape), self._after.row(t, shape)
        return after, after, before.copy_, lambda: after.copy_(cell(features, before))

    def unroll(self, features: Tensor, state: Tensor, starts: Tensor, *, replayed: bool) -> Tensor:
        """See `RecordedCore`."""
        keep = (~starts).to(features.dtype).unsqueeze(-1)
        outputs = []
        for t, x in enumerate(features.unbind()):
            state = self._core.cell(x, state * keep[t])
            outputs.append(state)
        return torch.stack(outputs)


class RecordedLSTM:
    """The LSTM, unrolled as one node of autograd's graph."""

    def __init__(self, core: LSTM, num_steps: int) -> None:
        self._core = core
        # The backward pass needs of each step: gates, [h, c] before, tanh c, [h, c] after.
        self._memories = tuple(Memory(num_steps) for _ in range(4))

    def bind(self, t: int, features: Tensor) -> tuple[Tensor, Tensor, Load, Call]:
        """See `RecordedCore`."""
        cell, H, B = self._core.cell, self._core.output_size, len(features)
        sizes = zip(self._memories, (4 * H, 2 * H, H, 2 * H), strict=True)
        gates, before, tanh_c, after = (memory.row(t, (B, size)) for memory, size in sizes)
        add_input = linear_into(features, cell.weight_ih, cell.bias_ih, gates)
        advance = _advance(gates, cell.weight_hh, cell.bias_hh, before, tanh_c, after)

        def call() -> None:
            add_input()
            advance()

        return after[:, :H], after, before.copy_, call

    def unroll(self, features: Tensor, state: Tensor, starts: Tensor, *, replayed: bool) -> Tensor:
        """See `RecordedCore`."""
        cell, shape = self._core.cell, starts.shape
        if replayed:
            trace = [memory.whole.view(*shape, -1) for memory in self._memories]
        else:
            trace = _trace(self._core, features, state, starts)
        outputs: Tensor = _LSTMSteps.apply(  # type: ignore[no-untyped-call]
            features, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh, trace, starts
        )
        return outputs


@torch.no_grad()
def _trace(core: LSTM, features: Tensor, state: Tensor, starts: Tensor) -> list[Tensor]:
    """Compute what acting records of T steps.

    The input half of the gates has no recurrence, so one matrix product computes it.
    """
    (T, B), H, cell = starts.shape, core.output_size, core.cell
    gates = nn.functional.linear(features, cell.weight_ih, cell.bias_ih)
    before, tanh_c, after = (features.new_empty(T, B, size) for size in (2 * H, H, 2 * H))
    keep = (~starts).to(features.dtype).unsqueeze(-1)
    for t in range(T):
        torch.mul(state, keep[t], out=before[t])
        _advance(gates[t], cell.weight_hh, cell.bias_hh, before[t], tanh_c[t], after[t])()
        state = after[t]
    return [gates, before, tanh_c, after]


def _advance(
    gates: Tensor, weight: Tensor, bias: Tensor, before: Tensor, tanh_c: Tensor, after: Tensor
) -> Call:
    """Return the call of one step: c = f c' + i g; h = o tanh(c).

    i, f, g, o = σ, σ, tanh, σ (x W_ih + h' W_hh + b). `gates` [B, 4H] must hold the input's half
    x W_ih + b_ih; the call completes them in place. `before` is [h', c'], `after` becomes [h, c],
    and `tanh_c` becomes tanh(c).
    """
    H, hidden = tanh_c.shape[1], torch.empty_like(gates)
    add_hidden = linear_into(before[:, :H], weight, bias, hidden)
    a, b = gates.numpy(), hidden.numpy()
    i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
    c_before, h, c = before.numpy()[:, H:], after.numpy()[:, :H], after.numpy()[:, H:]
    tanh, (scale, shift) = tanh_c.numpy(), _sigmoid_by_tanh(H)

    def call() -> None:
        add_hidden()
        np.add(a, b, out=a)
        # By σ(x) = (1 + tanh(x / 2)) / 2 one call of tanh serves all four gates.
        np.multiply(a, scale, out=a)
        np.tanh(a, out=a)
        np.multiply(a, scale, out=a)
        np.add(a, shift, out=a)
        np.multiply(f, c_before, out=c)
        np.add(c, i * g, out=c)
        np.multiply(o, np.tanh(c, out=tanh), out=h)

    return call


@functools.cache
def _sigmoid_by_tanh(H: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    half, one = np.full(H, 0.5, np.float32), np.ones(H, np.float32)
    return np.concatenate((half, half, one, half)), np.concatenate((half, half, 0 * one, half))


class _LSTMSteps(torch.autograd.Function):
    """The outputs of T steps, already computed, with an explicit backward pass through time.

    Gradients stop at the segment's initial state and where an episode starts.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        features: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        trace: list[Tensor],
        starts: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(features, weight_ih, weight_hh)
        ctx.trace, ctx.starts = trace, starts  # type: ignore[attr-defined]
        outputs, _ = trace[-1].chunk(2, dim=2)
        return outputs.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        features, weight_ih, weight_hh = ctx.saved_tensors  # type: ignore[attr-defined]
        (gates, before, tanh_c, _), starts = ctx.trace, ctx.starts  # type: ignore[attr-defined]
        T, B, H = tanh_c.shape
        h_before, c_before = before.chunk(2, dim=2)
        d_gates = _backward_through_time(d_outputs, gates, c_before, tanh_c, weight_hh, starts)
        d_gates = d_gates.view(T * B, 4 * H)
        transposed, d_bias, d_features = d_gates.t(), d_gates.sum(0), None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            d_features = d_gates.mm(weight_ih).view(T, B, -1)
        d_weight_ih = transposed.mm(features.reshape(T * B, -1))
        d_weight_hh = transposed.mm(h_before.reshape(T * B, H))
        return d_features, d_weight_ih, d_weight_hh, d_bias, d_bias, None, None


def _backward_through_time(
    d_outputs: Tensor,
    gates: Tensor,
    c_before: Tensor,
    tanh_c: Tensor,
    weight: Tensor,
    starts: Tensor,
) -> Tensor:
    """Return the gradients [T, B, 4H] by the gates before their nonlinearities."""
    T, B, H = tanh_c.shape
    i, f, g, o = gates.chunk(4, dim=2)
    # Factors without recurrence are computed for all steps at once: the derivative of each gate by
    # its pre-activation, times what the gate multiplies.
    by_c = torch.cat((g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g)), dim=2)
    by_c_array = by_c.view(T, B, 3, H).numpy()
    by_h, c_by_h = (tanh_c * o * (1 - o)).numpy(), (o * (1 - tanh_c * tanh_c)).numpy()
    keep, forget, added = (~starts).numpy(), f.numpy(), d_outputs.numpy()
    d_gates, d_before = torch.empty(T, B, 4 * H), torch.empty(B, H)
    parts = d_gates.numpy().reshape(T, B, 4, H)
    rows, vectors, matrix = d_gates.unbind(), d_gates.numpy(), weight.detach().numpy()
    d_h, d_c = added[-1], np.zeros((B, H), np.float32)
    for t in reversed(range(T)):
        d_c += d_h * c_by_h[t]
        np.multiply(by_c_array[t], d_c[:, None], out=parts[t, :, :3])
        np.multiply(by_h[t], d_h, out=parts[t, :, 3])
        if t == 0:
            break
        # As in linear_into: NumPy for a vector, PyTorch for a matrix.
        if B == 1:
            d_h = np.dot(vectors[t], matrix)
        else:
            d_h = torch.mm(rows[t], weight, out=d_before).numpy()
        d_c *= forget[t]
        if not keep[t].all():
            d_c *= keep[t, :, None]
            d_h *= keep[t, :, None]
        d_h += added[t - 1]
    return d_gates
