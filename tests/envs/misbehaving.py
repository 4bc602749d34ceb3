"""Environments that do what they must not, or what few expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class Misbehaving(gym.Env[Any, Any]):
    """Episodes of `length` steps that observe [episode, step] and earn 1 a step.

    `rewards` and `observations` replace what the n-th step of each episode gives; step 0 is the
    reset. With `truncates` the episodes are truncated. With `one_info` all of them share an info
    dictionary, with `one_array` all observations are one array, whose numbers change.
    """

    shared = np.zeros(2, np.float32)

    def __init__(
        self,
        *,
        length: int = 3,
        rewards: Mapping[int, Any] | None = None,
        observations: Mapping[int, Any] | None = None,
        truncates: bool = False,
        one_info: bool = False,
        one_array: bool = False,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        self.observation_space, self.action_space = Box(-1e9, 1e9, (2,), np.float32), Discrete(2)
        self._length, self._truncates = length, truncates
        self._rewards, self._observations = rewards or {}, observations or {}
        self._one_info, self._info = one_info, dict(info or {})
        self._array = self.shared if one_array else None
        self.episode = self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.episode, self._step = self.episode + 1, 0
        return self._observe(), self._infos()

    def step(self, action: Any) -> Any:
        self._step += 1
        ended = self._step >= self._length
        reward = self._rewards.get(self._step, 1.0)
        ends = ended and not self._truncates, ended and self._truncates
        return self._observe(), reward, *ends, self._infos()

    def _observe(self) -> Any:
        if self._step in self._observations:
            return self._observations[self._step]
        numbers = [self.episode, self._step]
        if self._array is None:
            return np.array(numbers, np.float32)
        self._array[:] = numbers
        return self._array

    def _infos(self) -> dict[str, Any]:
        return self._info if self._one_info else dict(self._info)


if "Misbehaving-v0" not in gym.registry:
    gym.register("Misbehaving-v0", entry_point=f"{__name__}:Misbehaving")
