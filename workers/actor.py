"""The actor: plays segments with a local copy of the policy, without gradients."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from a3c.model import ActorCritic
from a3c.segment import Segment
from envs.batch import EnvironmentBatch
from workers.progress import WorkerRow


@dataclass(frozen=True, kw_only=True)
class _Buffers:
    """A segment's memory, written anew for every segment."""

    observations: Tensor
    starts: Tensor
    state: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    next_values: Tensor


class Actor:
    """Steps B environments T times and fills a segment; episodes go on from one segment to the next."""

    def __init__(
        self, *, model: ActorCritic, environments: EnvironmentBatch, num_steps: int, generator: Generator, row: WorkerRow
    ) -> None:
        self._model, self._environments, self._generator, self._row = model, environments, generator, row
        T, B = num_steps, len(environments.rewards)
        observations = torch.from_numpy(environments.observations)
        self._buffers = _Buffers(
            observations=torch.empty(T, *observations.shape, dtype=observations.dtype),
            starts=torch.empty(T, B, dtype=torch.bool),
            state=model.initial_state(B),
            actions=torch.empty(T, B, dtype=torch.int64),
            log_probs=torch.empty(T, B),
            values=torch.empty(T, B),
            rewards=torch.empty(T, B),
            terminated=torch.empty(T, B, dtype=torch.bool),
            truncated=torch.empty(T, B, dtype=torch.bool),
            next_values=torch.empty(T, B),
        )
        self._state = model.initial_state(B)
        self._starts = torch.ones(B, dtype=torch.bool)
        environments.reset()

    @torch.inference_mode()
    def play(self) -> Segment:
        """The next T steps; the segment's tensors are valid until the next call."""
        buffers, environments = self._buffers, self._environments
        T, B = buffers.rewards.shape
        buffers.state.copy_(self._state)
        final_values: list[tuple[int, int, Tensor]] = []
        for t in range(T):
            buffers.observations.numpy()[t] = environments.observations
            buffers.starts[t] = self._starts
            self._clear_state_at_starts()
            actions, log_probs, values, self._state = self._model.act(buffers.observations[t], self._state, self._generator)
            buffers.actions[t], buffers.log_probs[t], buffers.values[t] = actions, log_probs, values
            final_observations, finished = environments.step(actions.numpy())
            buffers.rewards.numpy()[t] = environments.rewards
            buffers.terminated.numpy()[t] = environments.terminated
            buffers.truncated.numpy()[t] = environments.truncated
            self._starts = buffers.terminated[t] | buffers.truncated[t]
            for b, observation in final_observations.items():
                final_values.append((t, b, self._value(observation[None], self._state[b : b + 1])))
            self._tell(finished)
        self._clear_state_at_starts()
        buffers.next_values[:-1] = buffers.values[1:]
        buffers.next_values[-1] = self._value(environments.observations, self._state)
        for t, b, value in final_values:
            buffers.next_values[t, b] = value
        self._row.add("steps", T * B)
        return Segment(**vars(buffers))

    def _clear_state_at_starts(self) -> None:
        if self._starts.any():
            self._state = self._state * ~self._starts.unsqueeze(-1)

    def _value(self, observations: "np.ndarray", state: Tensor) -> Tensor:
        return self._model.step(torch.from_numpy(observations), state)[1]

    def _tell(self, finished: list[tuple[float, int]]) -> None:
        self._row.beat(time.monotonic_ns())
        for return_, length in finished:
            self._row.episode(return_=return_, length=length, seconds=time.monotonic())
