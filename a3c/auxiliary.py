"""Auxiliary heads: outputs beside policy and value whose losses shape the layers below (Jaderberg et al. 2017)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class AuxiliaryHead:
    """A linear layer over the features at some depth of the network."""

    name: str
    side: str  # "shared" by actor and critic, or the "actor"'s or "critic"'s own
    depth: int  # over how many of that side's layers; -1 for all of them, the only depth that convolutions have
    size: int  # its outputs
    # (outputs [T, B, size], the steps) -> scalar, a mean over the steps. PPO's minibatches are single steps [1, N] in any order,
    # unless the network is recurrent.
    loss: Callable[[Tensor, Segment], Tensor]
