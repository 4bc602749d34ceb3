"""Recurrent cores. A state is one tensor [B, S], so that segments, actors and checkpoints need not know what is in it."""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class LSTM(nn.Module):
    """LSTMCell over F features with H units; the state [B, 2H] is the output h beside the cell c."""

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(num_features, hidden_size)
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.zeros_(self.cell.bias_hh)
        self.output_size = hidden_size
        self.state_size = 2 * hidden_size

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step: features [B, F], state [B, 2H] -> output [B, H], next state [B, 2H]."""
        h, c = self.cell(features, tuple(state.chunk(2, dim=-1)))
        return h, torch.cat((h, c), dim=-1)

    def unroll(self, features: Tensor, state: Tensor, starts: Tensor) -> Tensor:
        """T steps: features [T, B, F], state [B, 2H], starts [T, B] bool -> outputs [T, B, H]."""
        cell = self.cell
        # The input half of the gates has no recurrence: one matrix product for the whole segment.
        gates = nn.functional.linear(features, cell.weight_ih, cell.bias_ih + cell.bias_hh)
        h, c = state.chunk(2, dim=-1)
        outputs: Tensor = _LSTMUnroll.apply(gates, cell.weight_hh, h, c, ~starts)  # type: ignore[no-untyped-call]
        return outputs


class _LSTMUnroll(torch.autograd.Function):
    """The recurrent half over T steps, with its backward pass written out: a tenth of the graph nodes autograd would make.

    i, f, g, o = σ, σ, tanh, σ (x W_ih + h' W_hh); c = f c' + i g; h = o tanh(c); h' and c' are zero where an episode starts.
    Hochreiter & Schmidhuber 1997, in the order of torch.nn.LSTMCell. Gradients stop at the segment's initial state.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, gates: Tensor, weight: Tensor, h: Tensor, c: Tensor, keep: Tensor) -> Tensor:
        T, B, H4 = gates.shape
        H = H4 // 4
        keep = keep.to(gates.dtype).unsqueeze(-1)
        gates = gates.clone()
        h_before, c_before = gates.new_empty(T, B, H), gates.new_empty(T, B, H)
        tanh_c, outputs = gates.new_empty(T, B, H), gates.new_empty(T, B, H)
        transposed = weight.t()
        for t in range(T):
            torch.mul(h, keep[t], out=h_before[t])
            torch.mul(c, keep[t], out=c_before[t])
            gate = gates[t].addmm_(h_before[t], transposed)
            i, f, g, o = gate.chunk(4, dim=1)
            gate[:, : 2 * H].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            c = torch.addcmul(f * c_before[t], i, g)
            torch.tanh(c, out=tanh_c[t])
            h = torch.mul(o, tanh_c[t], out=outputs[t])
        ctx.save_for_backward(gates, weight, h_before, c_before, tanh_c, keep)
        return outputs

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gates, weight, h_before, c_before, tanh_c, keep = ctx.saved_tensors  # type: ignore[attr-defined]
        (d_outputs,) = gradients
        T, B, H = tanh_c.shape
        i, f, g, o = gates.chunk(4, dim=2)
        # Everything that needs no recurrence, for all steps at once: d gate / d its pre-activation, times what it multiplies.
        by_c = torch.cat((g * i * (1 - i), c_before * f * (1 - f), i * (1 - g * g)), dim=2)
        by_h = tanh_c * o * (1 - o)
        c_by_h = o * (1 - tanh_c * tanh_c)
        d_gates = torch.empty_like(gates)
        d_h, d_c = torch.zeros_like(tanh_c[0]), torch.zeros_like(tanh_c[0])
        for t in reversed(range(T)):
            d_h = d_h + d_outputs[t]
            d_c = torch.addcmul(d_c, d_h, c_by_h[t])
            torch.mul(by_c[t].view(B, 3, H), d_c.unsqueeze(1), out=d_gates[t, :, : 3 * H].view(B, 3, H))
            torch.mul(by_h[t], d_h, out=d_gates[t, :, 3 * H :])
            d_h = d_gates[t].mm(weight).mul_(keep[t])
            d_c = d_c.mul_(f[t]).mul_(keep[t])
        d_weight = d_gates.view(T * B, -1).t().mm(h_before.view(T * B, H))
        return d_gates, d_weight, None, None, None
