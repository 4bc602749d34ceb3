"""Proximal policy optimization (Schulman et al. 2017) with the clipped objective.

Without a barrier this is asynchronous PPO.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.algorithm import ActorCriticLoss, Batch, Statistics
from a3c.networks.actor_critic import Network
from a3c.returns import Average, alone
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class ProximalPolicyOptimization(ActorCriticLoss):
    """-min(r A, clip(r, 1-ε, 1+ε) A) + c_v (R - V(s))² - β H(π(·|s)) + further terms.

    r = π(a|s) / π_acted(a|s); all terms are means over a minibatch; eq. 7 and 9 of the paper. Every
    segment is learned from several times. The clip keeps the policy near the one that acted, even
    where other workers have moved the parameters since.
    """

    clip_param: float  # ε
    use_clipped_value_loss: bool = False  # V gains nothing either by moving further than ε
    target_kl: float | None = None  # nats; the passes end when the policy has moved further
    ppo_epoch: int  # K, passes over the segment
    num_mini_batch: int  # per pass: of single steps, or of whole sequences if recurrent
    rank: int = 0  # number of this worker
    num_workers: int = 1  # that learn from one batch

    def batches(self, segment: Segment, average: Average = alone) -> Iterator[Batch]:
        """Yield every minibatch of every pass."""
        advantages, returns = self.targets(segment, average)
        if self.num_mini_batch > 1 and not segment.recurrent:
            segment = segment.flat()
            advantages, returns = advantages.view(1, -1), returns.view(1, -1)
        dealt = segment.recurrent and self.num_mini_batch > advantages.shape[1]
        for _ in range(self.ppo_epoch):
            if dealt:
                yield from self._dealt(segment, advantages, returns, average)
            else:
                yield from self._minibatches(segment, advantages, returns)

    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, Statistics]:
        """Return a minibatch's loss and its statistics."""
        A, steps = batch.advantages, batch.steps
        unrolled = network.unroll(steps.observations, steps.state, steps.starts)
        log_probs, entropies = network.head.log_prob_and_entropy(unrolled.policy, steps.actions)
        log_ratio = log_probs - steps.log_probs
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.clip_param, 1 + self.clip_param)

        policy_loss = -torch.min(ratio * A, clipped * A).mean()
        value_loss = self._value_loss(unrolled.values, steps.values, batch.returns)
        loss, statistics = self.total(
            network,
            batch,
            unrolled=unrolled,
            policy_loss=policy_loss,
            value_loss=value_loss,
            entropies=entropies,
        )
        if self.use_clipped_value_loss:  # then the value loss is not the squared error
            errors = batch.returns - unrolled.values
            statistics["square_error"] = errors.detach().square().mean()
        return loss, statistics | {
            # Schulman's estimate of KL(acted || now) in nats, http://joschu.net/blog/kl-approx.html
            "approx_kl": (ratio - 1 - log_ratio).detach().mean(),
            "clip_fraction": (clipped != ratio).float().mean(),
        }

    def ends(self, statistics: Mapping[str, float], average: Average = alone) -> bool:
        """Return whether the policy has moved further than `target_kl`, by all workers' mean."""
        if self.target_kl is None:
            return False
        return bool(average(torch.tensor([statistics["approx_kl"]])) > self.target_kl)

    def _minibatches(
        self, segment: Segment, advantages: Tensor, returns: Tensor
    ) -> Iterator[Batch]:
        weight = segment.weight
        if self.num_mini_batch == 1:
            yield Batch(steps=segment, advantages=advantages, returns=returns, weight=weight)
            return
        size = advantages.shape[1]
        order = torch.randperm(size)
        cuts = [size * i // self.num_mini_batch for i in range(self.num_mini_batch + 1)]
        sizes = [end - start for start, end in itertools.pairwise(cuts)]
        parts = zip(
            segment.of(order).split(sizes),
            torch.split(advantages[:, order], sizes, 1),
            torch.split(returns[:, order], sizes, 1),
            strict=True,
        )
        for steps, A, R in parts:
            yield Batch(steps=steps, advantages=A, returns=R, weight=weight)

    def _dealt(
        self, segment: Segment, advantages: Tensor, returns: Tensor, average: Average
    ) -> Iterator[Batch]:
        """Deal the sequences of all workers to minibatches, in one order that all workers share.

        This worker has none, one or several of a minibatch's sequences.
        """
        B, W = advantages.shape[1], self.num_workers
        common = float(average(torch.rand(1, dtype=torch.float64)))
        shared = torch.Generator().manual_seed(int(common * 2**53))
        order = torch.randperm(W * B, generator=shared)
        for minibatch in order.tensor_split(self.num_mini_batch):
            own = minibatch[minibatch // B == self.rank] % B
            yield Batch(
                steps=segment.of(own),
                advantages=advantages[:, own],
                returns=returns[:, own],
                weight=len(own) * W / len(minibatch),
            )

    def _value_loss(self, values: Tensor, acted_values: Tensor, returns: Tensor) -> Tensor:
        errors = (returns - values).square()
        if self.use_clipped_value_loss:
            moved = (values - acted_values).clamp(-self.clip_param, self.clip_param)
            errors = torch.max(errors, (returns - (acted_values + moved)).square())
        return errors.mean()
