"""Actor-critic using Kronecker-factored trust region (Wu et al. 2017): A2C, and what its Fisher matrix is made of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.algorithm import Batch, Statistics
from a3c.model import ActorCritic
from a3c.observation import Observation


@dataclass(frozen=True, kw_only=True)
class NaturalActorCritic(AdvantageActorCritic):
    """The loss of the advantage actor-critic, and samples of the Fisher matrix of policy and critic together.

    Both are taken for independent outputs of one distribution: the policy's actions, and values with a Gaussian of deviation 1
    around V (section 3.1 of the paper). The actions that were acted are a sample of the policy, as the factors need one.
    """

    value_fisher_coef: float = 1.0  # weight of the values' log-likelihood
    num_cases: int  # how many steps of a batch the samples are of

    def loss_and_samples(self, model: ActorCritic, batch: Batch) -> tuple[Tensor, Statistics, list[tuple[Tensor, Tensor]]]:
        """The loss and what it is made of; and of each linear map its inputs and the gradients of the sampled log-likelihood."""
        observation = Observation()
        policy, values = model.unroll(batch.steps, observation)
        loss, statistics = self.loss_of(model, batch, policy, values)
        log_probs, _ = model.head.log_prob_and_entropy(policy, batch.steps.actions)
        # log N(v; V, 1) at v = V + ε has the gradient ε.
        log_likelihood = log_probs.sum() + self.value_fisher_coef * (values * torch.randn_like(values)).sum()
        cases = torch.randperm(values.numel())[: self.num_cases]
        return loss, statistics, observation.samples(log_likelihood, cases)
