"""Asynchronous advantage actor-critic (Mnih et al. 2016, algorithm S3); at a barrier the same file is A2C."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from a3c.algorithm import ActorCriticLoss, Batch, Statistics
from a3c.model import ActorCritic
from a3c.returns import Average, alone
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class AdvantageActorCritic(ActorCriticLoss):
    """One loss a segment: -log π(a|s) A + c_v (R - V(s))² - β H(π(·|s)) and so on, summed or averaged over the steps.

    Rewards that get rarer shrink A, and a constant β then wins over them. With `entropy_scale` "advantage" β is multiplied by
    the root mean square of A: the balance that normalised advantages have (Schulman et al. 2017), while segments
    in which nothing happens keep their small gradient.
    """

    entropy_scale: str = "constant"  # or "advantage"
    loss_reduction: str = (
        "mean"  # "sum" makes the step size grow with the segment, as the paper's accumulation does
    )
    turns: tuple[tuple[int, ...], ...] = (
        (),
    )  # the groups of parameters that learn, one turn after another, see `Batch`

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """The whole segment, once a turn; values and advantages are those of before the first."""
        advantages, returns = self.targets(segment, average)
        scale = 1.0
        if self.entropy_scale == "advantage":
            scale = math.sqrt(float(average(advantages.square().mean().unsqueeze(0))))
        for groups in self.turns:
            yield Batch(
                steps=segment,
                advantages=advantages,
                returns=returns,
                entropy_scale=scale,
                groups=groups,
            )

    def loss(self, model: ActorCritic, batch: Batch) -> tuple[Tensor, Statistics]:
        """The segment's loss and what it is made of."""
        policy, values = model.unroll(batch.steps)
        log_probs, entropies = model.head.log_prob_and_entropy(policy, batch.steps.actions)

        policy_loss = -(log_probs * batch.advantages).mean()
        value_loss = (batch.returns - values).square().mean()
        loss, statistics = self.total(
            model,
            batch,
            policy=policy,
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropies=entropies,
        )
        if self.loss_reduction == "sum":
            loss = loss * batch.advantages.numel()
        return loss, statistics

    def ends(self, statistics: dict[str, float], average: Average = alone) -> bool:
        """Never."""
        return False
