"""Actor-critic using Kronecker-factored trust region (Wu et al. 2017): A2C, and what its Fisher matrix is made of."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.capture import Capture
from a3c.model import ActorCritic
from a3c.segment import Segment

POLICY, CRITIC = 0, 1  # groups of parameters with a trust region each
LOCATIONS = 8  # of a convolution, drawn anew for every step: neighbours tell the same, and all of them cost more than learning


@dataclass(frozen=True, kw_only=True)
class Captured:
    """What is known of each linear map."""

    maps: list[
        tuple[Tensor, Tensor, int]
    ]  # weight, bias, and the locations of a convolution's output, or 1
    samples: list[tuple[Tensor, Tensor]]  # inputs [M, columns] and gradients of outputs [M, rows]


@dataclass(frozen=True, kw_only=True)
class NaturalActorCritic(AdvantageActorCritic):
    """The loss of the advantage actor-critic, and samples of the Fisher matrix of policy and critic together.

    Both are taken for independent outputs of one distribution: the policy's actions, and values with a Gaussian of deviation 1
    around V (section 3.1 of the paper).
    """

    value_fisher_coef: float = 1.0  # weight of the values in the curvature
    num_fisher_steps: int = (
        0  # of a segment, drawn at random, in whole sequences if the network is recurrent; 0: all
    )

    def divergence(self, model: ActorCritic, segment: Segment) -> Tensor:
        """An estimate of KL(acted || now), [1]; Schulman's, http://joschu.net/blog/kl-approx.html."""
        with torch.no_grad():
            policy, _ = model.unroll(segment)
            log_ratio = (
                model.head.log_prob_and_entropy(policy, segment.actions)[0] - segment.log_probs
            )
            return (log_ratio.expm1() - log_ratio).mean().unsqueeze(0)

    def capture(self, model: ActorCritic, segment: Segment) -> Captured:
        """Inputs of each linear map, and gradients of the sampled log-likelihood by its outputs.

        The actions that were acted are a sample of the policy, as long as nobody has moved it since.
        """
        steps, capture = self._some(segment), Capture()
        policy, values = model.unroll(steps, capture)
        log_probs, _ = model.head.log_prob_and_entropy(policy, steps.actions)
        # log N(v; V, 1) at v = V + ε has the gradient ε, and its square, times the weight, is what the curvature is made of.
        noise = math.sqrt(self.value_fisher_coef) * torch.randn_like(values)
        log_likelihood = log_probs.sum() + (values * noise).sum()
        return Captured(
            maps=capture.maps, samples=capture.samples(log_likelihood, locations=LOCATIONS)
        )

    def _some(self, segment: Segment) -> Segment:
        T, B = segment.rewards.shape
        number, most = (
            (math.ceil(self.num_fisher_steps / T), B)
            if segment.recurrent
            else (self.num_fisher_steps, T * B)
        )
        if not 0 < number < most:
            return segment
        return (segment if segment.recurrent else segment.flat()).of(torch.randperm(most)[:number])
