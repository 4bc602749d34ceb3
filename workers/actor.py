"""The actor: plays segments with a local copy of the policy, without gradients."""

import time
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from a3c.networks.actor_critic import Network
from a3c.segment import Segment
from envs.batch import EnvironmentBatch
from workers.progress import WorkerRow


def segment_memory(
    network: Network,
    environments: EnvironmentBatch,
    num_steps: int,
    *,
    whole_episodes: bool = False,
    weight: float = 1.0,
) -> Segment:
    """Return memory for a segment [T, B]; images lie channels_last.

    T is `num_steps`. With `whole_episodes` a segment may have up to twice as many steps, and T is
    2 `num_steps`.
    """
    T, B = (2 if whole_episodes else 1) * num_steps, len(environments.rewards)
    first = torch.from_numpy(environments.observations)
    images = first.dim() == 4
    observations = torch.empty(
        (T * B, *first.shape[1:]),
        dtype=first.dtype,
        memory_format=torch.channels_last if images else torch.contiguous_format,
    )
    head = network.head
    return Segment(
        observations=observations.view(T, B, *first.shape[1:]),
        starts=torch.empty(T, B, dtype=torch.bool),
        state=network.initial_state(B),
        actions=torch.empty(T, B, *head.action_shape, dtype=head.action_dtype),
        log_probs=torch.empty(T, B),
        values=torch.empty(T, B),
        rewards=torch.empty(T, B),
        terminated=torch.empty(T, B, dtype=torch.bool),
        truncated=torch.empty(T, B, dtype=torch.bool),
        next_values=torch.empty(T, B),
        weight=weight,
    )


class Actor:
    """Steps B environments T times and fills a segment.

    Episodes go on from one segment to the next, or are played to their end.
    """

    def __init__(
        self,
        *,
        network: Network,
        environments: EnvironmentBatch,
        memory: Segment,
        num_steps: int,
        generator: Generator,
        row: WorkerRow,
    ) -> None:
        """Reset all environments; every segment is written into `memory`.

        If `memory` has more than `num_steps` steps, a segment ends after `num_steps` steps or more,
        where the episodes of all environments end at once, or where `memory` is full.
        """
        self._network, self.environments = network, environments
        self._generator, self._row = generator, row
        self._segment, self._num_steps = memory, num_steps
        self._next_observations = torch.from_numpy(environments.observations)
        self._state = network.initial_state(len(environments.rewards))
        self._starts = np.ones(len(environments.rewards), np.bool_)
        environments.reset()

    @torch.inference_mode()
    def play(self) -> Segment:
        """Play the next steps; the segment's tensors are valid until the next call."""
        segment, network, environments = self._segment, self._network, self.environments
        T, B = segment.rewards.shape
        observations, starts = segment.observations.numpy(), segment.starts.numpy()
        rewards, actions = segment.rewards.numpy(), segment.actions.numpy()
        terminated, truncated = segment.terminated.numpy(), segment.truncated.numpy()
        noise = network.head.noise((T, B), self._generator).unbind()
        inputs, policies, values = segment.observations.unbind(), list[Tensor](), list[Tensor]()
        final_values: list[tuple[int, int, Tensor]] = []
        segment.state.copy_(self._state)
        for t in range(T):
            observations[t], starts[t] = environments.observations, self._starts
            self._clear_state_at_starts()
            policy, value, state = network.step(inputs[t], self._state)
            policies.append(policy)
            values.append(value)
            self._state.copy_(state)
            chosen = network.head.sample(policy, noise[t])
            actions[t] = chosen.numpy()
            to_environment = network.head.to_environment(chosen).numpy()
            final_observations, finished = environments.step(to_environment)
            rewards[t] = environments.rewards
            terminated[t], truncated[t] = environments.terminated, environments.truncated
            self._starts = terminated[t] | truncated[t]
            for b, observation in final_observations.items():
                final = torch.from_numpy(observation[None])
                final_values.append((t, b, network.step(final, self._state[b : b + 1]).values))
            self._record(finished)
            if self._num_steps <= t + 1 < T and self._starts.all():
                T = t + 1
                break
        self._clear_state_at_starts()
        segment = segment.first(T)
        segment.values.copy_(torch.stack(values))
        log_probs, _ = network.head.log_prob_and_entropy(torch.stack(policies), segment.actions)
        segment.log_probs.copy_(log_probs)
        segment.next_values[:-1] = segment.values[1:]
        segment.next_values[-1] = network.step(self._next_observations, self._state).values
        for t, b, final_value in final_values:
            segment.next_values[t, b] = final_value
        self._row.add("steps", T * B)
        return segment

    def state(self) -> dict[str, Any]:
        """Return all that the next segment depends on, except parameters. Unsaveable."""
        return {
            "environments": self.environments.state(),
            "recurrent": self._state.clone(),
            "starts": torch.from_numpy(self._starts.copy()),
            "random": self._generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken. DoesNotFit; then nothing has changed."""
        self.environments.load_state(state["environments"])
        self._state.copy_(state["recurrent"])
        self._starts = state["starts"].numpy()
        self._generator.set_state(state["random"])

    def _clear_state_at_starts(self) -> None:
        if self._starts.any():
            self._state.mul_(torch.from_numpy(~self._starts).unsqueeze(-1))

    def _record(self, finished: list[tuple[float, int]]) -> None:
        self._row.beat(time.monotonic_ns())
        for return_, length in finished:
            self._row.episode(return_=return_, length=length, seconds=time.monotonic())
