"""Recurrent cores. A state is one tensor [B, S], so that segments, actors and checkpoints need not know what is in it."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from a3c.capture import Capture
from a3c.kernels import Call, linear_into
from a3c.recording import COMPUTING, Layers


class LSTM(nn.Module):
    """LSTMCell over F features with H units; the state [B, 2H] is the output h beside the cell c."""

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(num_features, hidden_size)
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.zeros_(self.cell.bias_hh)
        self.output_size = hidden_size
        self.state_size = 2 * hidden_size

    def step(
        self, features: Tensor, state: Tensor, layers: Layers = COMPUTING
    ) -> tuple[Tensor, Tensor]:
        """One step: features [B, F], state [B, 2H] -> output [B, H], next state [B, 2H]."""
        cell, H = self.cell, self.output_size
        memory = layers.memory(4 * H, 2 * H, H, 2 * H)
        if memory is None:
            h, c = cell(features, tuple(state.chunk(2, dim=-1)))
            return h, torch.cat((h, c), dim=-1)
        gates, before, tanh_c, after = memory
        layers.run(linear_into(features, cell.weight_ih, cell.bias_ih, gates))
        layers.run(lambda: before.copy_(state))
        layers.run(_advance(gates, cell.weight_hh, cell.bias_hh, before, tanh_c, after))
        return after[:, :H], after

    def unroll(
        self, features: Tensor, state: Tensor, starts: Tensor, layers: Layers = COMPUTING
    ) -> Tensor:
        """T steps: features [T, B, F], state [B, 2H], starts [T, B] bool -> outputs [T, B, H]."""
        cell = self.cell
        if isinstance(layers, Capture):
            return self._captured(features, state, starts, layers)
        trace = layers.recorded(4) or self._trace(features, state, starts)
        outputs: Tensor = _LSTMSteps.apply(  # type: ignore[no-untyped-call]
            features, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh, trace, starts
        )
        return outputs

    def _captured(
        self, features: Tensor, state: Tensor, starts: Tensor, capture: Capture
    ) -> Tensor:
        (T, B), cell = starts.shape, self.cell
        gates = capture.linear(cell.weight_ih, cell.bias_ih, features.flatten(0, 1)).view(T, B, -1)
        h, c = state.chunk(2, dim=-1)
        outputs = []
        for t, keep in enumerate((~starts).to(features.dtype).unsqueeze(-1)):
            both = gates[t] + capture.linear(cell.weight_hh, cell.bias_hh, h * keep)
            i, f, g, o = both.chunk(4, dim=-1)
            c = f.sigmoid() * (c * keep) + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs)

    @torch.no_grad()
    def _trace(self, features: Tensor, state: Tensor, starts: Tensor) -> list[Tensor]:
        """What `step` keeps, for T steps; the input half of the gates has no recurrence, so it is one matrix product."""
        (T, B), H, cell = starts.shape, self.output_size, self.cell
        gates = nn.functional.linear(features, cell.weight_ih, cell.bias_ih)
        before, tanh_c, after = (features.new_empty(T, B, size) for size in (2 * H, H, 2 * H))
        keep = (~starts).to(features.dtype).unsqueeze(-1)
        for t in range(T):
            torch.mul(state, keep[t], out=before[t])
            _advance(gates[t], cell.weight_hh, cell.bias_hh, before[t], tanh_c[t], after[t])()
            state = after[t]
        return [gates, before, tanh_c, after]


class GRU(nn.Module):
    """GRUCell over F features with H units (Cho et al. 2014); the state [B, H] is its output."""

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(num_features, hidden_size)
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.zeros_(self.cell.bias_hh)
        self.output_size = self.state_size = hidden_size

    def step(
        self, features: Tensor, state: Tensor, layers: Layers = COMPUTING
    ) -> tuple[Tensor, Tensor]:
        """One step: features [B, F], state [B, H] -> output [B, H], next state [B, H]."""
        memory = layers.memory(self.output_size)
        if memory is None:
            state = self.cell(features, state)
            return state, state
        (after,) = memory
        layers.run(lambda: after.copy_(self.cell(features, state)))
        return after, after

    def unroll(
        self, features: Tensor, state: Tensor, starts: Tensor, layers: Layers = COMPUTING
    ) -> Tensor:
        """T steps: features [T, B, F], state [B, H], starts [T, B] bool -> outputs [T, B, H], computed anew."""
        if isinstance(layers, Capture):
            return self._captured(features, state, starts, layers)
        layers.recorded(1)
        keep = (~starts).to(features.dtype).unsqueeze(-1)
        outputs = []
        for t, x in enumerate(features.unbind()):
            state = self.cell(x, state * keep[t])
            outputs.append(state)
        return torch.stack(outputs)

    def _captured(self, features: Tensor, h: Tensor, starts: Tensor, capture: Capture) -> Tensor:
        (T, B), cell = starts.shape, self.cell
        from_features = capture.linear(cell.weight_ih, cell.bias_ih, features.flatten(0, 1)).view(
            T, B, -1
        )
        outputs = []
        for t, keep in enumerate((~starts).to(features.dtype).unsqueeze(-1)):
            before = h * keep
            r, z, n = from_features[t].chunk(3, dim=-1)
            r_h, z_h, n_h = capture.linear(cell.weight_hh, cell.bias_hh, before).chunk(3, dim=-1)
            n = (n + (r + r_h).sigmoid() * n_h).tanh()
            z = (z + z_h).sigmoid()
            h = (1 - z) * n + z * before
            outputs.append(h)
        return torch.stack(outputs)


CORES: dict[str, type[LSTM] | type[GRU]] = {"lstm": LSTM, "gru": GRU}


def _advance(
    gates: Tensor, weight: Tensor, bias: Tensor, before: Tensor, tanh_c: Tensor, after: Tensor
) -> Call:
    """i, f, g, o = σ, σ, tanh, σ (x W_ih + h' W_hh + b); c = f c' + i g; h = o tanh(c), all in place.

    Hochreiter & Schmidhuber 1997, in the order of torch.nn.LSTMCell. `gates` [B, 4H] comes as the input's half, `before` is
    [h', c'], `after` becomes [h, c].
    """
    H, hidden = tanh_c.shape[1], torch.empty_like(gates)
    add_hidden = linear_into(before[:, :H], weight, bias, hidden)
    a, b = gates.numpy(), hidden.numpy()
    i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
    c_before, h, c, tanh = (
        before.numpy()[:, H:],
        after.numpy()[:, :H],
        after.numpy()[:, H:],
        tanh_c.numpy(),
    )
    scale, shift = _sigmoid_by_tanh(H)

    def call() -> None:
        add_hidden()
        np.add(a, b, out=a)
        # σ(x) = (1 + tanh(x / 2)) / 2, so that one call serves all four gates.
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
    """The outputs of T steps, known already, with the backward pass through time written out.

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
        d_gates = _backward_through_time(
            d_outputs, gates, c_before, tanh_c, weight_hh, starts
        ).view(T * B, 4 * H)
        transposed, d_bias = d_gates.t(), d_gates.sum(0)
        d_features = d_gates.mm(weight_ih).view(T, B, -1) if ctx.needs_input_grad[0] else None  # type: ignore[attr-defined]
        d_weight_ih = transposed.mm(features.reshape(T * B, -1))
        return (
            d_features,
            d_weight_ih,
            transposed.mm(h_before.reshape(T * B, H)),
            d_bias,
            d_bias,
            None,
            None,
        )


def _backward_through_time(
    d_outputs: Tensor,
    gates: Tensor,
    c_before: Tensor,
    tanh_c: Tensor,
    weight: Tensor,
    starts: Tensor,
) -> Tensor:
    """Gradients [T, B, 4H] of the gates before their nonlinearities."""
    T, B, H = tanh_c.shape
    i, f, g, o = gates.chunk(4, dim=2)
    # Everything that needs no recurrence, for all steps at once: d gate / d its pre-activation, times what it multiplies.
    by_c = (
        torch.cat((g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g)), dim=2)
        .view(T, B, 3, H)
        .numpy()
    )
    by_h, c_by_h = (tanh_c * o * (1 - o)).numpy(), (o * (1 - tanh_c * tanh_c)).numpy()
    keep, forget, added = (~starts).numpy(), f.numpy(), d_outputs.numpy()
    d_gates, d_before = torch.empty(T, B, 4 * H), torch.empty(B, H)
    parts = d_gates.numpy().reshape(T, B, 4, H)
    rows, vectors, matrix = d_gates.unbind(), d_gates.numpy(), weight.detach().numpy()
    d_h, d_c = added[-1], np.zeros((B, H), np.float32)
    for t in reversed(range(T)):
        d_c += d_h * c_by_h[t]
        np.multiply(by_c[t], d_c[:, None], out=parts[t, :, :3])
        np.multiply(by_h[t], d_h, out=parts[t, :, 3])
        if t == 0:
            break
        # As in linear_into: NumPy for a vector, PyTorch for a matrix.
        d_h = (
            np.dot(vectors[t], matrix)
            if B == 1
            else torch.mm(rows[t], weight, out=d_before).numpy()
        )
        d_c *= forget[t]
        if not keep[t].all():
            d_c *= keep[t, :, None]
            d_h *= keep[t, :, None]
        d_h += added[t - 1]
    return d_gates
