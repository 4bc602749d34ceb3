"""What all algorithms have in common: batches of steps, and the loss of a batch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from a3c.auxiliary import AuxiliaryHead, auxiliary_loss
from a3c.networks.actor_critic import Network, Unrolled
from a3c.returns import Average, alone, normalized
from a3c.segment import Segment

Statistics = dict[str, Tensor]  # the parts of a loss: detached scalars, each a mean over steps


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Steps to learn from at once, with their advantages and returns."""

    steps: Segment  # T steps of B environments
    advantages: Tensor  # [T, B]
    returns: Tensor  # [T, B]
    # Factor of a mean over these steps before the means of all workers are averaged: number of
    # steps / mean number of steps of a worker. 0: there are no steps.
    weight: float = 1.0
    entropy_scale: float = 1.0  # factor of the entropy coefficient
    groups: tuple[int, ...] = ()  # of parameters that learn, for an optimizer with groups; (): all

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors of the batch."""
        return (*self.steps.tensors(), self.advantages, self.returns)

    @classmethod
    def from_tensors(cls, tensors: tuple[Tensor, ...]) -> "Batch":
        """Make a batch from what `tensors` returned; all other fields get their defaults."""
        *steps, advantages, returns = tensors
        return cls(steps=Segment.from_tensors(steps), advantages=advantages, returns=returns)


class Algorithm(Protocol):
    """Losses of the batches that a segment is split into.

    The gradient of a batch moves the parameters before the next batch is drawn.
    """

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """Yield the batches of a segment, in order."""

    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, Statistics]:
        """Return the loss of one batch and its statistics.

        Both depend only on the batch and the network's present parameters.
        """

    def ends(self, statistics: Mapping[str, float], average: Average = alone) -> bool:
        """Return whether to skip this batch and the rest of the segment, alike for all workers.

        `statistics` are those of the loss, times the batch's weight.
        """


@dataclass(frozen=True, kw_only=True)
class ActorCriticLoss:
    """Policy loss + c_v value loss - β H(π(·|s)) + c_b excess + c_a auxiliary losses.

    The excess is how far the means of a Gaussian lie beyond the bounds of actions; see `excess` of
    the head. It is 0 for discrete actions.
    """

    gamma: float  # γ
    gae_lambda: float  # λ; 1 gives the n-step advantage
    value_gae_lambda: float | None = None  # λ of the critic's returns; None: the same λ
    entropy_coef: float  # β
    value_loss_coef: float  # c_v
    bounds_loss_coef: float = 0.0  # c_b
    auxiliary_loss_coef: float = 0.0  # c_a
    auxiliary_heads: tuple[AuxiliaryHead, ...] = ()  # those of the network
    normalize_advantages: bool = False  # to mean 0 and deviation 1 over the batch of all workers

    def targets(self, segment: Segment, average: Average = alone) -> tuple[Tensor, Tensor]:
        """Return advantages, normalised if so configured, and λ-returns; both [T, B]."""
        advantages = segment.advantages(gamma=self.gamma, gae_lambda=self.gae_lambda)
        returns = advantages + segment.values
        if self.value_gae_lambda is not None:
            others = segment.advantages(gamma=self.gamma, gae_lambda=self.value_gae_lambda)
            returns = others + segment.values
        if self.normalize_advantages:
            advantages = normalized(advantages, average, weight=segment.weight)
        return advantages, returns

    def total(
        self,
        network: Network,
        batch: Batch,
        *,
        unrolled: Unrolled,
        policy_loss: Tensor,
        value_loss: Tensor,
        entropies: Tensor,
    ) -> tuple[Tensor, Statistics]:
        """Return the sum and its statistics; `entropies` [T, B] are the policy's, in nats."""
        entropy = entropies.mean()
        beta = self.entropy_coef * batch.entropy_scale
        loss = policy_loss + self.value_loss_coef * value_loss - beta * entropy
        if self.bounds_loss_coef:
            loss = loss + self.bounds_loss_coef * network.head.excess(unrolled.policy).mean()
        if self.auxiliary_heads and self.auxiliary_loss_coef:
            auxiliary = auxiliary_loss(self.auxiliary_heads, unrolled.auxiliary, batch.steps)
            loss = loss + self.auxiliary_loss_coef * auxiliary
        return loss, {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            "return_mean": batch.returns.mean(),
            "return_square_mean": batch.returns.square().mean(),
        }
