"""Actor-critic using Kronecker-factored trust region (Wu et al. 2017).

ACKTR is A2C with a natural gradient. This file samples what the Fisher matrix is made of.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.capture import Capture
from a3c.networks.actor_critic import ActorCritic, Network
from a3c.segment import Segment

POLICY, CRITIC = 0, 1  # groups of parameters; each has its own trust region
# Locations of a convolution that are sampled, drawn anew for every step. Neighbouring locations
# are much alike, and using all of them takes longer than learning itself.
LOCATIONS = 8


@dataclass(frozen=True, kw_only=True)
class Captured:
    """Samples of each linear map of a network."""

    maps: list[tuple[Tensor, Tensor, int]]  # weight, bias, number of locations; see `Capture.maps`
    samples: list[tuple[Tensor, Tensor]]  # inputs [M, columns], gradients of outputs [M, rows]


@dataclass(frozen=True, kw_only=True)
class NaturalActorCritic(AdvantageActorCritic):
    """The loss of the advantage actor-critic, and samples of the Fisher matrix.

    Policy and critic are treated as independent outputs of one distribution: the policy's actions,
    and values with a Gaussian of standard deviation 1 around V (section 3.1 of the paper).
    """

    value_fisher_coef: float = 1.0  # weight of the values in the curvature
    # Steps of a segment that are sampled, at random; 0: all. A recurrent network's are rounded up
    # to whole sequences.
    fisher_steps: int = 0
    desired_kl: float | None = None  # nats by which a step should move the policy; None: any

    def divergence(self, network: Network, segment: Segment) -> Tensor:
        """Estimate KL(acted || now) [1] in nats: the mean of eʳ - 1 - r, r = log π / π_acted.

        Schulman, http://joschu.net/blog/kl-approx.html.
        """
        with torch.no_grad():
            unrolled = network.unroll(segment.observations, segment.state, segment.starts)
            log_probs, _ = network.head.log_prob_and_entropy(unrolled.policy, segment.actions)
            log_ratio = log_probs - segment.log_probs
            return (log_ratio.expm1() - log_ratio).mean().unsqueeze(0)

    def capture(self, model: ActorCritic, segment: Segment) -> Captured:
        """Sample inputs of each linear map, and gradients of the log-likelihood by its outputs.

        The acted actions are a sample of the policy only while the parameters are those that
        acted. Everything is computed in float32.
        """
        steps, capture, precision = self._some(segment), Capture(), model.precision
        model.precision = torch.float32
        with capture:
            unrolled = model.unroll(steps.observations, steps.state, steps.starts)
        model.precision = precision
        log_probs, _ = model.head.log_prob_and_entropy(unrolled.policy, steps.actions)
        # log N(v; V, 1) at v = V + ε has the gradient ε by V. The curvature is its square times
        # the weight.
        noise = math.sqrt(self.value_fisher_coef) * torch.randn_like(unrolled.values)
        log_likelihood = log_probs.sum() + (unrolled.values * noise).sum()
        samples = capture.samples(log_likelihood, locations=LOCATIONS)
        return Captured(maps=capture.maps, samples=samples)

    def _some(self, segment: Segment) -> Segment:
        """Return the steps that are sampled."""
        T, B = segment.rewards.shape
        number, most = self.fisher_steps, T * B
        if segment.recurrent:
            number, most = math.ceil(self.fisher_steps / T), B
        if not 0 < number < most:
            return segment
        chosen = torch.randperm(most)[:number]
        return (segment if segment.recurrent else segment.flat()).of(chosen)
