"""Wrappers for any environment: episode statistics and clipped rewards."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from envs.faults import LARGEST, faulty_reward, name_of
from envs.ids import EnvironmentProblem
from envs.interface import check_reset, refuse_unreadable_step

Step = tuple[Any, float, bool, bool, dict[str, Any]]
Games = list[tuple[float, int]]


class EpisodeStatistics(gym.Wrapper[Any, Any, Any, Any]):
    """Sum the rewards and count the steps of each game of the wrapped environment.

    They are taken from here, by `take`. The environment's `info` is its own: it may keep one
    dictionary for ever, or have an "episode" of its own in it.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._return = 0.0
        self._length = 0
        self._ended: Games = []

    def step(self, action: Any) -> Step:
        """Step and count. FaultyNumber for a reward that nothing can be learned from.

        EnvironmentProblem if what the environment returns cannot be read.
        """
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
            over = bool(terminated or truncated)
        except (TypeError, ValueError) as error:
            refuse_unreadable_step(self, error)
            raise
        try:
            reward = float(reward)
        except (TypeError, ValueError):
            raise EnvironmentProblem(
                f"{name_of(self)} gave the reward {reward!r}; let step() return a number"
            ) from None
        if not -LARGEST < reward < LARGEST:
            raise faulty_reward(self, reward)
        self._return += reward
        self._length += 1
        if over:
            self._ended.append((self._return, self._length))
        return observation, reward, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Count from 0 again; a game that was given up half-way is not reported."""
        self._return, self._length = 0.0, 0
        return check_reset(self, self.env.reset(**kwargs))

    def take(self) -> Games:
        """Return (return, steps) of each game that has ended since the last call."""
        ended, self._ended = self._ended, []
        return ended


def statistics_of(env: gym.Env[Any, Any]) -> EpisodeStatistics:
    """Return the layer of `env` that counts its games. ValueError if there is none."""
    layer = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, EpisodeStatistics):
            return layer
        layer = layer.env
    raise ValueError(f"nothing counts the games of {env}; envs.make.make adds EpisodeStatistics")


class ClipReward(gym.Wrapper[Any, Any, Any, Any]):
    """Replace the reward by its sign, or clip it to [-1, 1]; for training only.

    Source: Mnih et al. (2015).
    """

    def __init__(self, env: gym.Env[Any, Any], *, sign: bool) -> None:
        super().__init__(env)
        self._sign = sign

    def step(self, action: Any) -> Step:
        """Step; a reward of 0 stays as it is."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        if self._sign:
            reward = 1.0 if reward > 0 else -1.0 if reward < 0 else reward
        else:
            reward = 1.0 if reward > 1 else -1.0 if reward < -1 else reward
        return observation, reward, terminated, truncated, info


class Points(gym.Wrapper[Any, Any, Any, Any]):
    """Keep when the points of a game fell, to tell games apart.

    A deterministic emulator may play one and the same game after different beginnings, so neither
    the return nor the number of steps shows that two games differ.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._points: list[tuple[int, float]] = []
        self._steps = 0
        # Not from `info`, which is the environment's: a stranger's may say anything there.
        ale: Any = getattr(env.unwrapped, "ale", None)
        self._frame_number = getattr(ale, "getEpisodeFrameNumber", None)

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """(frame, reward) of each reward of the current game; the step where there is no emulator.

        Two games are one if these are equal.
        """
        return tuple(self._points)

    def step(self, action: Any) -> Step:
        """Step, and note a reward that is not 0."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        if reward:
            frame = self._steps if self._frame_number is None else self._frame_number()
            self._points.append((frame, float(reward)))
        return observation, reward, terminated, truncated, info  # type: ignore[return-value]

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Begin a new game."""
        self._points, self._steps = [], 0
        return self.env.reset(**kwargs)
