"""Proximal policy optimization (Schulman et al. 2017), with the clipped objective; lock-free it is asynchronous PPO."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.algorithm import ActorCriticLoss, Batch, Statistics
from a3c.model import ActorCritic
from a3c.returns import Average, alone
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class ProximalPolicyOptimization(ActorCriticLoss):
    """Goes over a segment several times; the clip keeps the policy near the one that acted, whoever else has moved it since.

    -min(r A, clip(r, 1-ε, 1+ε) A) + c_v (R - V(s))² - β H(π(·|s)) and so on, r = π(a|s) / π_acted(a|s), averaged over a
    minibatch. Eq. 7 and 9 of the paper.
    """

    clip_param: float  # ε
    clip_values: bool = (
        False  # whether V, too, earns nothing by moving further than ε from what it was when acted
    )
    target_kl: float = math.inf  # where the passes end
    num_epochs: int  # K, passes over the segment
    num_mini_batch: int  # minibatches in a pass: of single steps, or of whole sequences if the network has a recurrent core
    worker: int = 0  # which one this is
    num_workers: int = 1  # who learn from one batch

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """Every minibatch of every pass."""
        advantages, returns = self.targets(segment, average)
        if self.num_mini_batch > 1 and not segment.recurrent:
            segment, advantages, returns = (
                segment.flat(),
                advantages.view(1, -1),
                returns.view(1, -1),
            )
        dealt = segment.recurrent and self.num_mini_batch > advantages.shape[1]
        for _ in range(self.num_epochs):
            if dealt:
                yield from self._dealt(segment, advantages, returns, average)
            else:
                yield from self._minibatches(segment, advantages, returns)

    def loss(self, model: ActorCritic, batch: Batch) -> tuple[Tensor, Statistics]:
        """A minibatch's loss and what it is made of."""
        A, steps = batch.advantages, batch.steps
        policy, values = model.unroll(steps)
        log_probs, entropies = model.head.log_prob_and_entropy(policy, steps.actions)
        log_ratio = log_probs - steps.log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_param, 1 + self.clip_param)

        policy_loss = -torch.min(ratio * A, clipped * A).mean()
        value_loss = self._value_loss(values, steps.values, batch.returns)
        loss, statistics = self.total(
            model,
            batch,
            policy=policy,
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropies=entropies,
        )
        if self.clip_values:  # the value loss is another then
            statistics["square_error"] = (batch.returns - values).detach().square().mean()
        return loss, statistics | {
            # Schulman's estimate of KL(acted || now), http://joschu.net/blog/kl-approx.html
            "approx_kl": (ratio - 1 - log_ratio).detach().mean(),
            "clip_fraction": (clipped != ratio).float().mean(),
        }

    def ends(self, statistics: dict[str, float], average: Average = alone) -> bool:
        """Whether the policy has moved further than `target_kl`."""
        if self.target_kl == math.inf:
            return False
        return bool(average(torch.tensor([statistics["approx_kl"]])) > self.target_kl)

    def _minibatches(
        self, segment: Segment, advantages: Tensor, returns: Tensor
    ) -> Iterator[Batch]:
        if self.num_mini_batch == 1:
            yield Batch(steps=segment, advantages=advantages, returns=returns)
            return
        size = advantages.shape[1]
        order = torch.randperm(size)
        cuts = [size * i // self.num_mini_batch for i in range(self.num_mini_batch + 1)]
        sizes = [end - start for start, end in itertools.pairwise(cuts)]
        parts = (
            segment.of(order).split(sizes),
            *(torch.split(values[:, order], sizes, 1) for values in (advantages, returns)),
        )
        for steps, A, R in zip(*parts, strict=True):
            yield Batch(steps=steps, advantages=A, returns=R)

    def _dealt(
        self, segment: Segment, advantages: Tensor, returns: Tensor, average: Average
    ) -> Iterator[Batch]:
        """All workers' sequences in an order that they share; of each minibatch this worker has one, several or none."""
        B, W = advantages.shape[1], self.num_workers
        common = float(average(torch.rand(1, dtype=torch.float64)))
        order = torch.randperm(W * B, generator=torch.Generator().manual_seed(int(common * 2**53)))
        for minibatch in order.tensor_split(self.num_mini_batch):
            own = minibatch[minibatch // B == self.worker] % B
            weight = len(own) * W / len(minibatch)
            yield Batch(
                steps=segment.of(own),
                advantages=advantages[:, own],
                returns=returns[:, own],
                weight=weight,
            )

    def _value_loss(self, values: Tensor, acted_values: Tensor, returns: Tensor) -> Tensor:
        errors = (returns - values).square()
        if self.clip_values:
            near = acted_values + (values - acted_values).clamp(-self.clip_param, self.clip_param)
            errors = torch.max(errors, (returns - near).square())
        return errors.mean()
