"""Auxiliary heads: outputs beside policy and value, whose losses train the layers below them.

Jaderberg et al. 2017.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.networks.actor_critic import AuxiliaryOutput
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class AuxiliaryHead(AuxiliaryOutput):
    """An auxiliary output of the network, with its loss.

    `loss` takes the outputs [T, B, size] and the steps, and returns a scalar, a mean over the
    steps. The minibatches of PPO are single steps [1, N] in random order, unless the network is
    recurrent.
    """

    loss: Callable[[Tensor, Segment], Tensor]


def auxiliary_loss(
    heads: Sequence[AuxiliaryHead], outputs: Mapping[str, Tensor], steps: Segment
) -> Tensor:
    """Return the sum of the losses of `heads`, of at least one; `outputs` are [T, B, size] each."""
    return torch.stack([head.loss(outputs[head.name], steps) for head in heads]).sum()
