"""What all algorithms have in common: batches of steps, and a loss of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from a3c.model import ActorCritic
from a3c.returns import Average, alone, normalized
from a3c.segment import Segment

Statistics = dict[str, Tensor]  # what a loss is made of: detached scalars, each per step


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Steps to learn from at once, and what they turned out to be worth."""

    steps: Segment  # T steps of B environments
    advantages: Tensor  # [T, B]
    returns: Tensor  # [T, B]
    weight: float = 1.0  # of this worker's part among all workers', 1 on average; at 0 it has none
    entropy_scale: float = 1.0  # what the entropy coefficient is multiplied by
    groups: tuple[
        int, ...
    ] = ()  # of parameters that learn, for an optimizer that has groups; none named: all


@dataclass(frozen=True, kw_only=True)
class ActorCriticLoss:
    """Policy loss + c_v value loss - β H(π(·|s)) + c_b excess + c_a auxiliary losses: what the algorithms' losses have in common.

    The excess is that of a Gaussian's means over the bounds of actions, see the head; 0 for discrete actions.
    """

    gamma: float  # γ
    gae_lambda: float  # λ; 1 gives the n-step advantage
    value_gae_lambda: float | None = None  # λ of what the critic learns; none: the same
    entropy_coef: float  # β
    value_loss_coef: float  # c_v
    bounds_loss_coef: float = 0.0  # c_b
    auxiliary_loss_coef: float = 0.0  # c_a, of the network's auxiliary heads
    normalize_advantages: bool = False  # to mean 0 and deviation 1 over the batch of all workers

    def targets(self, segment: Segment, average: Average = alone) -> tuple[Tensor, Tensor]:
        """What actor and critic learn: advantages, normalised or not, and λ-returns; both [T, B]."""
        advantages = segment.advantages(gamma=self.gamma, gae_lambda=self.gae_lambda)
        returns = advantages + segment.values
        if self.value_gae_lambda is not None:
            returns = (
                segment.advantages(gamma=self.gamma, gae_lambda=self.value_gae_lambda)
                + segment.values
            )
        return normalized(advantages, average) if self.normalize_advantages else advantages, returns

    def total(
        self,
        model: ActorCritic,
        batch: Batch,
        *,
        policy: Tensor,
        policy_loss: Tensor,
        value_loss: Tensor,
        entropies: Tensor,
    ) -> tuple[Tensor, Statistics]:
        """The sum, and what it is made of; `policy` [T, B, A] and `entropies` [T, B] are of the batch as it was unrolled."""
        entropy = entropies.mean()
        beta = self.entropy_coef * batch.entropy_scale
        loss = policy_loss + self.value_loss_coef * value_loss - beta * entropy
        if self.bounds_loss_coef:
            loss = loss + self.bounds_loss_coef * model.head.excess(policy).mean()
        if self.auxiliary_loss_coef:
            loss = loss + self.auxiliary_loss_coef * model.auxiliary_loss(batch.steps)
        return loss, {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            "return_mean": batch.returns.mean(),
            "return_square_mean": batch.returns.square().mean(),
        }


class Algorithm(Protocol):
    """Turns a segment into batches; each moves the parameters by the gradient of its loss before the next one comes."""

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """What to learn from, in order."""

    def loss(self, model: ActorCritic, batch: Batch) -> tuple[Tensor, Statistics]:
        """The loss of one batch at the model's present parameters; it depends on nothing else."""

    def ends(self, statistics: dict[str, float], average: Average = alone) -> bool:
        """Whether this batch and the segment's others are left out, by what its loss is made of; all workers decide alike."""
