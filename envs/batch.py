"""Several environments of one worker, stepped one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from envs.state import load_state, save_state

Finished = list[tuple[float, int]]


class EnvironmentBatch:
    """B environments in this process; its four arrays are overwritten in place by `reset` and `step`."""

    def __init__(self, environments: Sequence[gym.Env[Any, Any]], *, seeds: Sequence[int]) -> None:
        """One seed for each environment; observation spaces must agree. Raises ValueError."""
        if not environments or len(environments) != len(seeds):
            raise ValueError(
                f"{len(environments)} environments need as many seeds, and at least one, not {len(seeds)}"
            )
        space = environments[0].observation_space
        assert space.shape is not None
        if any(env.observation_space.shape != space.shape for env in environments):
            raise ValueError("the environments of one batch must have observations of one shape")
        self._environments = list(environments)
        self._seeds: list[int | None] = list(seeds)
        size = len(environments)
        self.observations = _zeros((size, *space.shape), space.dtype)  # [B, *shape]
        self.rewards = np.zeros(size, np.float32)  # [B]
        self.terminated = np.zeros(size, np.bool_)  # [B]
        self.truncated = np.zeros(size, np.bool_)  # [B]

    def reset(self) -> NDArray[Any]:
        """Start every environment anew (seeded the first time only) and return `observations`."""
        for i, env in enumerate(self._environments):
            self.observations[i], _ = env.reset(seed=self._seeds[i])
            self._seeds[i] = None
        self.rewards[:] = 0.0
        self.terminated[:] = self.truncated[:] = False
        return self.observations

    def step(self, actions: NDArray[Any]) -> tuple[dict[int, NDArray[Any]], Finished]:
        """Step with `actions` [B] or [B, A]; where an episode ended, `observations` hold the first one of the next.

        Returns the final observations of the truncated (not terminated) ones by index, and (raw return, length) of each
        game that ended.
        """
        final_observations: dict[int, NDArray[Any]] = {}
        finished: Finished = []
        choices = actions.tolist() if actions.ndim == 1 else actions
        for i, env in enumerate(self._environments):
            observation, reward, terminated, truncated, info = env.step(choices[i])
            if terminated or truncated:
                _collect(info, finished)
                if not terminated:
                    final_observations[i] = np.array(observation, self.observations.dtype)
                observation, info = env.reset()
                _collect(
                    info, finished
                )  # a game may end inside a reset, while it waits for the next life
            self.observations[i] = observation
            self.rewards[i] = reward
            self.terminated[i] = terminated
            self.truncated[i] = truncated and not terminated
        return final_observations, finished

    def state(self) -> dict[str, Any]:
        """What will happen next depends on this and on the actions. Unsaveable."""
        return {
            "environments": [save_state(env) for env in self._environments],
            "observations": torch.from_numpy(self.observations.copy()),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken, with as many environments made in the same way."""
        for env, saved in zip(self._environments, state["environments"], strict=True):
            load_state(env, saved)
        self.observations[:] = state["observations"].numpy()

    def close(self) -> None:
        """Close every environment."""
        for env in self._environments:
            env.close()


def _zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    if len(shape) != 4:
        return np.zeros(shape, dtype)
    size, channels, height, width = shape
    return np.zeros((size, height, width, channels), dtype).transpose(
        0, 3, 1, 2
    )  # channels_last, as the network wants them


def _collect(info: dict[str, Any], finished: Finished) -> None:
    if (episode := info.get("episode")) is not None:
        finished.append((float(episode["r"]), int(episode["l"])))
