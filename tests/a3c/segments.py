"""Segments made up for tests."""

import functools

import torch
from torch import Tensor

from a3c.model import ActorCritic
from a3c.recording import Recording
from a3c.segment import Segment


def unrolled(
    model: ActorCritic, observations: Tensor, state: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor]:
    """Policy and values of a segment of which only what the network sees matters."""
    return model.unroll(segment_of(observations, state, starts))


def segment_of(
    observations: Tensor, state: Tensor, starts: Tensor, *, recording: Recording | None = None
) -> Segment:
    """A segment with zeros for all that the network does not see."""
    actions = torch.zeros(starts.shape, dtype=torch.int64)
    return Segment.seen(
        observations=observations, starts=starts, state=state, actions=actions, recording=recording
    )


def play(
    model: ActorCritic, observations: Tensor, state: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Recording]:
    """Acts step by step, as an actor does: policies [T, B, A], values [T, B], and what was recorded meanwhile."""
    recording, policies, values, state = (
        Recording(*starts.shape, model.precision),
        [],
        [],
        state.clone(),
    )
    with torch.inference_mode():
        for t in range(len(starts)):
            state.mul_(~starts[t].unsqueeze(-1))
            policy, value, after = recording.step(
                t, functools.partial(model.step, observations[t], state)
            )
            state.copy_(after)
            policies.append(policy.clone())
            values.append(value.clone())
    return torch.stack(policies), torch.stack(values), recording
