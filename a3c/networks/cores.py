"""Recurrent cores. A state is one tensor [B, S], so that no other code depends on its parts.

`unroll` applies each linear map separately: the input's map to all steps at once, the state's map
step by step. These are the two layers that K-FAC sees in a cell.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class LSTM(nn.Module):
    """LSTMCell over F features with H units; the state [B, 2H] is h beside c.

    Hochreiter & Schmidhuber 1997, with the gates in the order of torch.nn.LSTMCell.
    """

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(num_features, hidden_size)
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.zeros_(self.cell.bias_hh)
        self.output_size = hidden_size
        self.state_size = 2 * hidden_size

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step: features [B, F], state [B, 2H] -> output [B, H], next state [B, 2H]."""
        h, c = self.cell(features, tuple(state.chunk(2, dim=-1)))
        return h, torch.cat((h, c), dim=-1)

    def unroll(self, features: Tensor, state: Tensor, starts: Tensor) -> Tensor:
        """Take T steps: features [T, B, F], state [B, 2H], starts [T, B] bool -> [T, B, H]."""
        (T, B), cell = starts.shape, self.cell
        inputs = linear(features.flatten(0, 1), cell.weight_ih, cell.bias_ih).view(T, B, -1)
        h, c = state.chunk(2, dim=-1)
        outputs = []
        for t, keep in enumerate((~starts).to(features.dtype).unsqueeze(-1)):
            gates = inputs[t] + linear(h * keep, cell.weight_hh, cell.bias_hh)
            i, f, g, o = gates.chunk(4, dim=-1)
            c = f.sigmoid() * (c * keep) + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs)


class GRU(nn.Module):
    """GRUCell over F features with H units; the state [B, H] is its output. Cho et al. 2014."""

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.cell = nn.GRUCell(num_features, hidden_size)
        nn.init.zeros_(self.cell.bias_ih)
        nn.init.zeros_(self.cell.bias_hh)
        self.output_size = self.state_size = hidden_size

    def step(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step: features [B, F], state [B, H] -> output [B, H], next state [B, H]."""
        state = self.cell(features, state)
        return state, state

    def unroll(self, features: Tensor, state: Tensor, starts: Tensor) -> Tensor:
        """Take T steps: features [T, B, F], state [B, H], starts [T, B] bool -> [T, B, H]."""
        (T, B), cell, h = starts.shape, self.cell, state
        inputs = linear(features.flatten(0, 1), cell.weight_ih, cell.bias_ih).view(T, B, -1)
        outputs = []
        for t, keep in enumerate((~starts).to(features.dtype).unsqueeze(-1)):
            before = h * keep
            r, z, n = inputs[t].chunk(3, dim=-1)
            r_h, z_h, n_h = linear(before, cell.weight_hh, cell.bias_hh).chunk(3, dim=-1)
            n = (n + (r + r_h).sigmoid() * n_h).tanh()
            z = (z + z_h).sigmoid()
            h = (1 - z) * n + z * before
            outputs.append(h)
        return torch.stack(outputs)


Core = LSTM | GRU
CORES: dict[str, type[LSTM] | type[GRU]] = {"lstm": LSTM, "gru": GRU}
