"""Proximal policy optimization (Schulman et al. 2017), with the clipped objective; lock-free it is asynchronous PPO."""

from dataclasses import dataclass

import torch

from a3c.advantage_actor_critic import Losses
from a3c.model import ActorCritic
from a3c.returns import normalized
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class ProximalPolicyOptimization:
    """Goes over a segment several times; the clip keeps the policy near the one that acted, whoever else has moved it since.

    -min(r A, clip(r, 1-ε, 1+ε) A) + c_v (R - V(s))² - β H(π(·|s)) + c_b excess, r = π(a|s) / π_acted(a|s), averaged over a
    minibatch of whole sequences. Eq. 7 and 9 of the paper; the excess, see the head, is not of the paper.
    """

    gamma: float  # γ
    gae_lambda: float  # λ
    entropy_coef: float  # β
    value_loss_coef: float  # c_v
    clip_param: float  # ε
    bounds_loss_coef: float = 0.0  # c_b
    num_epochs: int  # K, passes over the segment
    num_mini_batch: int  # minibatches in a pass; the segment's environments are dealt to them

    def losses(self, model: ActorCritic, segment: Segment) -> Losses:
        """One loss for every minibatch of every pass, computed when the one before has acted; and what it is made of."""
        advantages = segment.advantages(gamma=self.gamma, gae_lambda=self.gae_lambda)
        returns = advantages + segment.values
        advantages = normalized(advantages)
        num_environments = advantages.shape[1]
        whole = self.num_mini_batch == 1
        for _ in range(self.num_epochs):
            for chosen in torch.randperm(num_environments).tensor_split(self.num_mini_batch):
                part = segment if whole else segment.of(chosen)
                A, R = (advantages, returns) if whole else (advantages[:, chosen], returns[:, chosen])

                policy, values = model.unroll(part)
                log_probs, entropies = model.head.log_prob_and_entropy(policy, part.actions)
                ratio = (log_probs - part.log_probs).exp()
                clipped = ratio.clamp(1 - self.clip_param, 1 + self.clip_param)

                policy_loss = -torch.min(ratio * A, clipped * A).mean()
                value_loss = (R - values).square().mean()
                entropy = entropies.mean()
                loss = policy_loss + self.value_loss_coef * value_loss - self.entropy_coef * entropy
                if self.bounds_loss_coef:
                    loss = loss + self.bounds_loss_coef * model.head.excess(policy).mean()
                yield (
                    loss,
                    {
                        "policy_loss": policy_loss.detach(),
                        "value_loss": value_loss.detach(),
                        "entropy": entropy.detach(),
                        "return_mean": R.mean(),
                        "return_square_mean": R.square().mean(),
                    },
                )
