"""Segments made up for tests, and what algorithms make of them."""

import torch
from torch import Tensor

from a3c.algorithm import Algorithm, Statistics
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical, Head
from a3c.returns import generalized_advantages
from a3c.segment import Segment


def make_model(head: Head | None = None, **options) -> ActorCritic:
    torch.manual_seed(0)
    options = {"recurrent": "lstm", "hidden_size": 8} | options
    return ActorCritic(observation_shape=(4,), head=head or Categorical(3), **options)


def make_segment(model: ActorCritic, T: int, B: int) -> Segment:
    """A random segment that the model has acted, with ends of episodes of both kinds."""
    torch.manual_seed(1)
    observations, starts = torch.randn(T, B, 4), torch.rand(T, B) < 0.2
    state = model.initial_state(B)
    with torch.no_grad():
        policy, values, _ = model.unroll(observations, state, starts)
        noise = model.head.noise((T, B), torch.Generator().manual_seed(1))
        actions = model.head.sample(policy, noise)
        log_probs, _ = model.head.log_prob_and_entropy(policy, actions)
    terminated = torch.rand(T, B) < 0.2
    truncated = ~terminated & (torch.rand(T, B) < 0.2)
    next_values = torch.randn(T, B)
    next_values[:-1] = torch.where(truncated[:-1], next_values[:-1], values[1:])
    return Segment(
        observations=observations,
        starts=starts,
        state=state,
        actions=actions,
        log_probs=log_probs,
        values=values,
        rewards=torch.randn(T, B),
        terminated=terminated,
        truncated=truncated,
        next_values=next_values,
    )


def losses(
    algorithm: Algorithm, model: ActorCritic, segment: Segment
) -> list[tuple[Tensor, Statistics]]:
    return [algorithm.loss(model, batch) for batch in algorithm.batches(segment)]


def advantages_of(segment: Segment, *, gamma: float, gae_lambda: float) -> Tensor:
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    columns = {name: getattr(segment, name) for name in names}
    return generalized_advantages(**columns, gamma=gamma, gae_lambda=gae_lambda)


def unroll(model: ActorCritic, segment: Segment) -> tuple[Tensor, Tensor]:
    """Policy and values of a segment's steps, with gradients."""
    policy, values, _ = model.unroll(segment.observations, segment.state, segment.starts)
    return policy, values


def seen(observations: Tensor, state: Tensor, starts: Tensor) -> Segment:
    """A segment with zeros for all that the network does not see."""
    actions = torch.zeros(starts.shape, dtype=torch.int64)
    return Segment.seen(observations=observations, starts=starts, state=state, actions=actions)
