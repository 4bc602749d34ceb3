"""What all algorithms have in common: batches of steps, and a loss of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from a3c.model import ActorCritic
from a3c.returns import Average, alone
from a3c.segment import Segment

Statistics = dict[str, Tensor]  # what a loss is made of: detached scalars, each per step


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Steps to learn from at once, and what they turned out to be worth."""

    steps: Segment  # T steps of B environments
    advantages: Tensor  # [T, B]
    returns: Tensor  # [T, B]
    entropy_scale: float = 1.0  # what the entropy coefficient is multiplied by


class Algorithm(Protocol):
    """Turns a segment into batches; each moves the parameters by the gradient of its loss before the next one comes."""

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """What to learn from, in order."""

    def loss(self, model: ActorCritic, batch: Batch) -> tuple[Tensor, Statistics]:
        """The loss of one batch at the model's present parameters; it depends on nothing else."""

    def ends(self, statistics: dict[str, float], average: Average = alone) -> bool:
        """Whether this batch and the segment's others are left out, by what its loss is made of; all workers decide alike."""
