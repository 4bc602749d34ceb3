"""Several environments of one worker, stepped one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from envs.state import DoesNotFit, constants_of, load_states, save_states

Finished = list[tuple[float, int]]


class EnvironmentBatch:
    """B environments in this process.

    `reset` and `step` overwrite the four public arrays in place.
    """

    def __init__(self, environments: Sequence[gym.Env[Any, Any]], *, seeds: Sequence[int]) -> None:
        """Take one seed for each environment.

        Raises ValueError if the numbers differ or the observations have different shapes.
        """
        if not environments or len(environments) != len(seeds):
            raise ValueError(
                f"{len(environments)} environments need as many seeds, and at least one, "
                f"not {len(seeds)}"
            )
        space = environments[0].observation_space
        assert space.shape is not None
        if any(env.observation_space.shape != space.shape for env in environments):
            raise ValueError("the environments of one batch must have observations of one shape")
        self._environments = list(environments)
        self._constants = constants_of(environments)
        self._seeds: list[int | None] = list(seeds)
        size = len(environments)
        self.observations = _zeros((size, *space.shape), space.dtype)  # [B, *shape]
        self.rewards = np.zeros(size, np.float32)  # [B]
        self.terminated = np.zeros(size, np.bool_)  # [B]
        self.truncated = np.zeros(size, np.bool_)  # [B]

    def reset(self) -> NDArray[Any]:
        """Start every environment anew and return `observations`; seed the first time only."""
        for i, env in enumerate(self._environments):
            self.observations[i], _ = env.reset(seed=self._seeds[i])
            self._seeds[i] = None
        self.rewards[:] = 0.0
        self.terminated[:] = self.truncated[:] = False
        return self.observations

    def step(self, actions: NDArray[Any]) -> tuple[dict[int, NDArray[Any]], Finished]:
        """Step with `actions` [B] or [B, A]; start the next episode where one ended.

        There, `observations` hold the first observation of the next episode. Returns two things:
        the final observations by index where an episode was truncated and not terminated, and
        (raw return, length) of each game that ended.
        """
        final_observations: dict[int, NDArray[Any]] = {}
        finished: Finished = []
        for i, env in enumerate(self._environments):
            observation, reward, terminated, truncated, info = env.step(actions[i])
            if terminated or truncated:
                _collect(info, finished)
                if not terminated:
                    final_observations[i] = np.array(observation, self.observations.dtype)
                observation, info = env.reset()
                # A game may end inside a reset, while it waits for the next life.
                _collect(info, finished)
            self.observations[i] = observation
            self.rewards[i] = reward
            self.terminated[i] = terminated
            self.truncated[i] = truncated and not terminated
        return final_observations, finished

    def state(self) -> dict[str, Any]:
        """Return all that determines, with the actions, what happens next.

        Raises Unsaveable if an environment holds something of an unknown kind.
        """
        return {
            "environments": save_states(self._environments, self._constants),
            "observations": torch.from_numpy(self.observations.copy()),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken; needs as many environments, made in the same way.

        Raises DoesNotFit if they were made otherwise; then nothing has changed.
        """
        observations = state["observations"].numpy()
        if observations.shape != self.observations.shape:
            raise DoesNotFit(
                f"the saved observations are {list(observations.shape)}, "
                f"and those of the environments {list(self.observations.shape)}"
            )
        load_states(self._environments, state["environments"])
        self.observations[:] = observations

    def close(self) -> None:
        """Close every environment; an error is raised when all have been tried."""
        with contextlib.ExitStack() as stack:
            for env in reversed(self._environments):
                stack.callback(env.close)


def _zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    if len(shape) != 4:
        return np.zeros(shape, dtype)
    size, channels, height, width = shape
    # The network wants the memory layout channels_last.
    return np.zeros((size, height, width, channels), dtype).transpose(0, 3, 1, 2)


def _collect(info: dict[str, Any], finished: Finished) -> None:
    if (episode := info.get("episode")) is not None:
        finished.append((float(episode["r"]), int(episode["l"])))
