"""Asynchronous advantage actor-critic (Mnih et al. 2016, algorithm S3); at a barrier it is A2C."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from a3c.algorithm import ActorCriticLoss, Batch, Statistics
from a3c.networks.actor_critic import Network
from a3c.returns import Average, alone
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class AdvantageActorCritic(ActorCriticLoss):
    """One loss per segment: -log π(a|s) A + c_v (R - V(s))² - β H(π(·|s)) + further terms.

    The loss is averaged or summed over the steps; `ActorCriticLoss` has the further terms.

    When rewards become rarer, A shrinks, and a constant β outweighs the policy loss. With
    `entropy_scale` "advantage" β is multiplied by the root mean square of A. Policy loss and
    entropy are then balanced as with normalised advantages (Schulman et al. 2017), but a segment
    in which nothing happens keeps its small gradient.
    """

    entropy_scale: str = "constant"  # or "advantage"
    loss_reduction: str = "mean"  # "sum", as in the paper: the step grows with the segment
    turns: tuple[tuple[int, ...], ...] = ((),)  # groups of parameters that learn in each turn

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """Yield the whole segment once per turn, with the same advantages and returns."""
        advantages, returns = self.targets(segment, average)
        scale = 1.0
        if self.entropy_scale == "advantage":
            square = segment.weight * advantages.square().mean().unsqueeze(0)
            scale = math.sqrt(float(average(square)))
        # A sum counts every step alike without a weight, however many steps a worker has.
        weight = segment.weight if self.loss_reduction == "mean" else 1.0
        for groups in self.turns:
            yield Batch(
                steps=segment,
                advantages=advantages,
                returns=returns,
                weight=weight,
                entropy_scale=scale,
                groups=groups,
            )

    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, Statistics]:
        """Return the segment's loss and its statistics."""
        steps = batch.steps
        unrolled = network.unroll(steps.observations, steps.state, steps.starts)
        log_probs, entropies = network.head.log_prob_and_entropy(unrolled.policy, steps.actions)

        policy_loss = -(log_probs * batch.advantages).mean()
        value_loss = (batch.returns - unrolled.values).square().mean()
        loss, statistics = self.total(
            network,
            batch,
            unrolled=unrolled,
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropies=entropies,
        )
        if self.loss_reduction == "sum":
            loss = loss * batch.advantages.numel()
        return loss, statistics

    def ends(self, statistics: Mapping[str, float], average: Average = alone) -> bool:
        """Return False: all batches are used."""
        return False
