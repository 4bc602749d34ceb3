"""Tiny environments with a known optimum, and some that fail on purpose: `envs.toys:Recall-v0` and its siblings."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Step = tuple[Vector, float, bool, bool, dict[str, Any]]


class Recall(gym.Env[Vector, np.int64]):
    """Name at the last of 4 steps the cue (one of 2) shown at the first: +1 right, -1 wrong.

    Observes [cue 0, cue 1, last step]. The best return is 1; without memory it is 0 on average.
    """

    num_steps = 4

    def __init__(self) -> None:
        self.observation_space = Box(0.0, 1.0, (3,), np.float32)
        self.action_space = Discrete(2)
        self._cue = 0
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Show a new cue."""
        super().reset(seed=seed)
        self._cue = int(self.np_random.integers(2))
        self._elapsed = 0
        return _one_hot(self._cue, 3), {}

    def step(self, action: Any) -> Step:
        """Only the last action counts."""
        self._elapsed += 1
        ended = self._elapsed == self.num_steps
        reward = (1.0 if action == self._cue else -1.0) if ended else 0.0
        observation = (
            _one_hot(2, 3) if self._elapsed == self.num_steps - 1 else np.zeros(3, np.float32)
        )
        return observation, reward, ended, False, {}


class _Questions(gym.Env[Vector, Any]):
    """An episode of `num_steps` questions, each answered by one action."""

    num_steps: int
    truncates = False  # whether a time limit ends it, and not the last answer

    def __init__(self) -> None:
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Ask the first question."""
        super().reset(seed=seed)
        self._elapsed = 0
        return self._ask(), {}

    def step(self, action: Any) -> Step:
        """Reward the answer, ask the next question."""
        reward = self._reward(action)
        self._elapsed += 1
        last = self._elapsed == self.num_steps
        return self._ask(), reward, last and not self.truncates, last and self.truncates, {}

    @abstractmethod
    def _ask(self) -> Vector:
        """Draws a question and returns what is seen of it."""

    @abstractmethod
    def _reward(self, action: Any) -> float:
        """What `action` is worth as an answer."""


class Bandit(_Questions):
    """Five steps, each with a context (one of 3, one-hot): the action of that number earns 1. The best return is 5."""

    num_steps = 5

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(0.0, 1.0, (3,), np.float32)
        self.action_space = Discrete(3)
        self._context = 0

    def _ask(self) -> Vector:
        self._context = int(self.np_random.integers(3))
        return _one_hot(self._context, 3)

    def _reward(self, action: Any) -> float:
        return float(action == self._context)


class Corridor(gym.Env[Vector, np.int64]):
    """Cells 0 to 5, from 0: action 1 goes right, 0 left; entering cell 5 earns 1 and terminates, 20 steps truncate.

    The optimal value of cell s is gamma^(4 - s); the best return is 1, after 5 steps. Observes the cell, one-hot [6].
    """

    length = 6
    time_limit = 20

    def __init__(self) -> None:
        self.observation_space = Box(0.0, 1.0, (self.length,), np.float32)
        self.action_space = Discrete(2)
        self._cell = 0
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Vector, dict[str, Any]]:
        """Back to cell 0."""
        super().reset(seed=seed)
        self._cell = self._elapsed = 0
        return _one_hot(self._cell, self.length), {}

    def step(self, action: Any) -> Step:
        """One cell to the left or right, if there is one."""
        self._cell = max(0, self._cell + (1 if action == 1 else -1))
        self._elapsed += 1
        arrived = self._cell == self.length - 1
        truncated = self._elapsed >= self.time_limit and not arrived
        return _one_hot(self._cell, self.length), float(arrived), arrived, truncated, {}


class Aim(_Questions):
    """Ten steps, each with a point x of [-1, 1]²: the action should be (2 x_1, 4 x_2), in a Box of [-2, 2] x [-4, 4].

    A step earns 1 - d², with d the distance in units of the Box's half-widths. The best return is 10; a time limit ends it.
    """

    num_steps, truncates = 10, True

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Box(-1.0, 1.0, (2,), np.float32)
        self._reach = np.array([2, 4], np.float32)
        self.action_space = Box(-self._reach, self._reach)
        self._point = np.zeros(2, np.float32)

    def _ask(self) -> Vector:
        self._point = self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)
        return self._point

    def _reward(self, action: Any) -> float:
        return 1.0 - float(np.square(action / self._reach - self._point).sum())


class Dials(_Questions):
    """Five steps, each with a setting of two dials (3 and 4 positions, one-hot): each one set right earns 1/2.

    The best return is 5. With `switches` the dials have two positions and the actions are MultiBinary.
    """

    num_steps = 5

    def __init__(self, *, switches: bool = False) -> None:
        super().__init__()
        self._positions = [2, 2] if switches else [3, 4]
        self.observation_space = Box(0.0, 1.0, (sum(self._positions),), np.float32)
        self.action_space = (
            MultiBinary(2) if switches else MultiDiscrete(self._positions, start=[0, 1])
        )
        self._setting = np.zeros(2, np.int64)

    def _ask(self) -> Vector:
        self._setting = self.np_random.integers(self._positions)
        return np.concatenate(
            [_one_hot(int(i), n) for i, n in zip(self._setting, self._positions, strict=True)]
        )

    def _reward(self, action: Any) -> float:
        assert self.action_space.contains(action)
        return float((action - getattr(self.action_space, "start", 0) == self._setting).mean())


class Crash(gym.Wrapper[Any, Any, Any, Any]):
    """A Bandit whose steps raise RuntimeError with probability `p`."""

    def __init__(self, *, p: float = 0.01) -> None:
        super().__init__(Bandit())
        self._p = p

    def step(self, action: Any) -> Step:
        """Fail, or one step of the Bandit."""
        if self.np_random.random() < self._p:
            raise RuntimeError("this environment crashes on purpose")
        return self.env.step(action)  # type: ignore[return-value]


class Hang(gym.Wrapper[Any, Any, Any, Any]):
    """A Bandit that sleeps for ever once `n` steps have been made, over all episodes."""

    def __init__(self, *, n: int = 100) -> None:
        super().__init__(Bandit())
        self._remaining = n

    def step(self, action: Any) -> Step:
        """One step of the Bandit, or none ever."""
        while self._remaining <= 0:
            time.sleep(1.0)
        self._remaining -= 1
        return self.env.step(action)  # type: ignore[return-value]


class NaN(gym.Wrapper[Any, Any, Any, Any]):
    """A Bandit whose observation, and independently reward, is not a number with probability `p`."""

    def __init__(self, *, p: float = 0.01) -> None:
        super().__init__(Bandit())
        self._p = p

    def step(self, action: Any) -> Step:
        """One step of the Bandit, perhaps spoilt."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        spoil_observation, spoil_reward = self.np_random.random(2) < self._p
        observation = np.full_like(observation, np.nan) if spoil_observation else observation
        return (
            observation,
            float("nan") if spoil_reward else float(reward),
            terminated,
            truncated,
            info,
        )


def _one_hot(index: int, size: int) -> Vector:
    vector = np.zeros(size, np.float32)
    vector[index] = 1.0
    return vector


for _toy in (Recall, Bandit, Corridor, Aim, Dials, Crash, Hang, NaN):
    if f"{_toy.__name__}-v0" not in gym.registry:
        gym.register(f"{_toy.__name__}-v0", entry_point=f"envs.toys:{_toy.__name__}")
