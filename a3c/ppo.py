"""Proximal policy optimization (Schulman et al. 2017), with the clipped objective; lock-free it is asynchronous PPO."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.advantage_actor_critic import Losses
from a3c.model import ActorCritic
from a3c.returns import Average, alone, normalized
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class ProximalPolicyOptimization:
    """Goes over a segment several times; the clip keeps the policy near the one that acted, whoever else has moved it since.

    -min(r A, clip(r, 1-ε, 1+ε) A) + c_v (R - V(s))² - β H(π(·|s)) + c_b excess, r = π(a|s) / π_acted(a|s), averaged over a
    minibatch. Eq. 7 and 9 of the paper; the excess, see the head, is not of the paper.
    """

    gamma: float  # γ
    gae_lambda: float  # λ
    entropy_coef: float  # β
    value_loss_coef: float  # c_v
    clip_param: float  # ε
    bounds_loss_coef: float = 0.0  # c_b
    auxiliary_loss_coef: float = 0.0  # of the network's auxiliary heads
    clip_values: bool = False  # whether V, too, earns nothing by moving further than ε from what it was when acted
    target_kl: float = math.inf  # where the passes end
    num_epochs: int  # K, passes over the segment
    num_mini_batch: int  # minibatches in a pass: of single steps, or of whole sequences if the network has a recurrent core

    def losses(self, model: ActorCritic, segment: Segment, average: Average = alone) -> Losses:
        """One loss for every minibatch of every pass, computed when the one before has acted; and what it is made of."""
        advantages = segment.advantages(gamma=self.gamma, gae_lambda=self.gae_lambda)
        returns = advantages + segment.values
        advantages = normalized(advantages, average)
        for _ in range(self.num_epochs):
            for part, A, R in self._minibatches(segment, advantages, returns):
                policy, values = model.unroll(part)
                log_probs, entropies = model.head.log_prob_and_entropy(policy, part.actions)
                log_ratio = log_probs - part.log_probs
                ratio = log_ratio.exp()
                clipped = ratio.clamp(1 - self.clip_param, 1 + self.clip_param)
                # Schulman's estimate of KL(acted || now), http://joschu.net/blog/kl-approx.html
                approx_kl = (ratio - 1 - log_ratio).detach().mean()
                if self.target_kl < math.inf and average(approx_kl.unsqueeze(0)) > self.target_kl:
                    return

                policy_loss = -torch.min(ratio * A, clipped * A).mean()
                value_loss = self._value_loss(values, part.values, R)
                entropy = entropies.mean()
                loss = policy_loss + self.value_loss_coef * value_loss - self.entropy_coef * entropy
                if self.bounds_loss_coef:
                    loss = loss + self.bounds_loss_coef * model.head.excess(policy).mean()
                if self.auxiliary_loss_coef:
                    loss = loss + self.auxiliary_loss_coef * model.auxiliary_loss(part)
                yield (
                    loss,
                    {
                        "policy_loss": policy_loss.detach(),
                        "value_loss": value_loss.detach(),
                        "entropy": entropy.detach(),
                        "return_mean": R.mean(),
                        "return_square_mean": R.square().mean(),
                        "approx_kl": approx_kl,
                        "clip_fraction": (clipped != ratio).float().mean(),
                    },
                )

    def _minibatches(self, segment: Segment, advantages: Tensor, returns: Tensor) -> Iterator[tuple[Segment, Tensor, Tensor]]:
        if self.num_mini_batch == 1:
            yield segment, advantages, returns
            return
        if not segment.recurrent:
            segment, advantages, returns = segment.flat(), advantages.view(1, -1), returns.view(1, -1)
        size = advantages.shape[1]
        order = torch.randperm(size)
        segment, advantages, returns = segment.of(order), advantages[:, order], returns[:, order]
        cuts = [size * i // self.num_mini_batch for i in range(self.num_mini_batch + 1)]
        for part in itertools.starmap(slice, itertools.pairwise(cuts)):
            yield segment.of(part), advantages[:, part], returns[:, part]

    def _value_loss(self, values: Tensor, acted_values: Tensor, returns: Tensor) -> Tensor:
        errors = (returns - values).square()
        if self.clip_values:
            near = acted_values + (values - acted_values).clamp(-self.clip_param, self.clip_param)
            errors = torch.max(errors, (returns - near).square())
        return errors.mean()
