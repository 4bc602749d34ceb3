"""The actor: plays segments with a local copy of the policy, without gradients."""

import functools
import time
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from a3c.kernels import empty
from a3c.model import ActorCritic
from a3c.recording import Recording
from a3c.segment import Segment
from envs.batch import EnvironmentBatch
from workers.progress import WorkerRow


class Actor:
    """Steps B environments T times and fills a segment; episodes go on from one to the next, or are played to their end."""

    def __init__(
        self,
        *,
        model: ActorCritic,
        environments: EnvironmentBatch,
        num_steps: int,
        generator: Generator,
        row: WorkerRow,
        whole_episodes: bool = False,
    ) -> None:
        """With `whole_episodes` a segment ends with all its episodes, after T steps at least and 2 T at most."""
        self._model, self._environments, self._generator, self._row = (
            model,
            environments,
            generator,
            row,
        )
        self._num_steps = num_steps
        T, B = (2 if whole_episodes else 1) * num_steps, len(environments.rewards)
        observations = torch.from_numpy(environments.observations)
        # One segment's memory, written anew for every segment.
        self._segment = Segment(
            observations=empty((T * B, *observations.shape[1:]), observations.dtype).unflatten(
                0, (T, B)
            ),  # type: ignore[no-untyped-call]
            starts=torch.empty(T, B, dtype=torch.bool),
            state=model.initial_state(B),
            actions=torch.empty(T, B, *model.head.action_shape, dtype=model.head.action_dtype),
            log_probs=torch.empty(T, B),
            values=torch.empty(T, B),
            rewards=torch.empty(T, B),
            terminated=torch.empty(T, B, dtype=torch.bool),
            truncated=torch.empty(T, B, dtype=torch.bool),
            next_values=torch.empty(T, B),
            recording=Recording(T, B, model.precision),
        )
        self._bootstrap = Recording(
            1, B, model.precision
        )  # for the values after the last step, in memory of their own
        self._next_observations = observations
        self._state = model.initial_state(B)
        self._starts = np.ones(B, np.bool_)
        environments.reset()

    @torch.inference_mode()
    def play(self) -> Segment:
        """The next steps; the segment's tensors are valid until the next call."""
        segment, model, environments = self._segment, self._model, self._environments
        T, B = segment.rewards.shape
        assert segment.recording is not None
        observations, starts, rewards = (
            segment.observations.numpy(),
            segment.starts.numpy(),
            segment.rewards.numpy(),
        )
        terminated, truncated, actions = (
            segment.terminated.numpy(),
            segment.truncated.numpy(),
            segment.actions.numpy(),
        )
        noise, inputs = (
            model.head.noise((T, B), self._generator).unbind(),
            segment.observations.unbind(),
        )
        final_values: list[tuple[int, int, Tensor]] = []
        segment.state.copy_(self._state)
        for t in range(T):
            observations[t], starts[t] = environments.observations, self._starts
            self._clear_state_at_starts()
            policy, _, state = segment.recording.step(
                t, functools.partial(model.step, inputs[t], self._state)
            )
            self._state.copy_(state)
            chosen = model.head.sample(policy, noise[t])
            actions[t] = chosen.numpy()
            final_observations, finished = environments.step(
                model.head.to_environment(chosen).numpy()
            )
            rewards[t], terminated[t], truncated[t] = (
                environments.rewards,
                environments.terminated,
                environments.truncated,
            )
            self._starts = terminated[t] | truncated[t]
            for b, observation in final_observations.items():
                _, value, _ = model.step(
                    torch.from_numpy(observation[None]), self._state[b : b + 1]
                )
                final_values.append((t, b, value))
            self._tell(finished)
            if self._num_steps <= t + 1 < T and self._starts.all():
                T = t + 1
                break
        self._clear_state_at_starts()
        policies, values = (head[:T] for head in segment.recording.heads())
        segment = segment.first(T)
        segment.log_probs.copy_(model.head.log_prob_and_entropy(policies, segment.actions)[0])
        segment.values.copy_(values)
        segment.next_values[:-1] = segment.values[1:]
        segment.next_values[-1] = self._bootstrap.step(
            0, functools.partial(model.step, self._next_observations, self._state)
        )[1]
        for t, b, value in final_values:
            segment.next_values[t, b] = value
        self._row.add("steps", T * B)
        return segment

    def state(self) -> dict[str, Any]:
        """What the next segment depends on, the parameters apart. Unsaveable."""
        return {
            "environments": self._environments.state(),
            "recurrent": self._state.clone(),
            "starts": torch.from_numpy(self._starts.copy()),
            "random": self._generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self._environments.load_state(state["environments"])
        self._state.copy_(state["recurrent"])
        self._starts = state["starts"].numpy()
        self._generator.set_state(state["random"])

    def _clear_state_at_starts(self) -> None:
        if self._starts.any():
            self._state.mul_(torch.from_numpy(~self._starts).unsqueeze(-1))

    def _tell(self, finished: list[tuple[float, int]]) -> None:
        self._row.beat(time.monotonic_ns())
        for return_, length in finished:
            self._row.episode(return_=return_, length=length, seconds=time.monotonic())
