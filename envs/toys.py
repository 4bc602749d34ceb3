"""Tiny environments with a known optimum, and some that fail on purpose.

Their ids are those of `envs.toys:Recall-v0` and so on, by the classes' names.
"""

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
    """Remember one of two cues from the first of 4 steps, and name it at the last.

    The right cue earns 1, the wrong one -1. Observes [cue 0, cue 1, last step].
    The best return is 1; without memory it is 0 on average.
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
        """Step; only the last action is rewarded."""
        self._elapsed += 1
        ended = self._elapsed == self.num_steps
        reward = 0.0
        if ended:
            reward = 1.0 if action == self._cue else -1.0
        is_last = self._elapsed == self.num_steps - 1
        observation = _one_hot(2, 3) if is_last else np.zeros(3, np.float32)
        return observation, reward, ended, False, {}


class _Questions(gym.Env[Vector, Any]):
    """An episode of `num_steps` questions, each answered by one action."""

    num_steps: int
    truncates = False  # whether the last question truncates the episode or terminates it

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
        """Draw a question and return its observation."""

    @abstractmethod
    def _reward(self, action: Any) -> float:
        """Return the reward of the answer `action`."""


class Bandit(_Questions):
    """Name the context, one of 3, in each of five steps.

    The action with the context's number earns 1; the best return is 5.
    Observes the context, one-hot [3].
    """

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
    """Walk from cell 0 to cell 5: action 1 goes right, action 0 goes left.

    Entering cell 5 earns 1 and terminates; 20 steps truncate. The best return is 1, after 5 steps.
    The optimal value of cell s is gamma^(4 - s). Observes the cell, one-hot [6].
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
        """Go back to cell 0."""
        super().reset(seed=seed)
        self._cell = self._elapsed = 0
        return _one_hot(self._cell, self.length), {}

    def step(self, action: Any) -> Step:
        """Go one cell to the left or right, if there is one."""
        self._cell = max(0, self._cell + (1 if action == 1 else -1))
        self._elapsed += 1
        arrived = self._cell == self.length - 1
        truncated = self._elapsed >= self.time_limit and not arrived
        return _one_hot(self._cell, self.length), float(arrived), arrived, truncated, {}


class Aim(_Questions):
    """Aim at a point x of [-1, 1]² in each of ten steps: the best action is (2 x_1, 4 x_2).

    Actions are a Box of [-2, 2] x [-4, 4]. A step earns 1 - d², with d the distance from the best
    action in units of the Box's half-widths. The best return is 10; a time limit truncates.
    Observes x [2].
    """

    num_steps = 10
    truncates = True

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
    """Set two dials, of 3 and 4 positions, to the setting shown in each of five steps.

    Each dial in its right position earns 1/2; the best return is 5. Observes the setting, one-hot
    [7]. With `switches`, the dials have two positions each and actions are MultiBinary.
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
        pairs = zip(self._setting, self._positions, strict=True)
        return np.concatenate([_one_hot(int(position), size) for position, size in pairs])

    def _reward(self, action: Any) -> float:
        assert self.action_space.contains(action)
        start = getattr(self.action_space, "start", 0)
        return float((action - start == self._setting).mean())


class Crash(gym.Wrapper[Any, Any, Any, Any]):
    """A Bandit whose steps raise RuntimeError with probability `p`."""

    def __init__(self, *, p: float = 0.01) -> None:
        super().__init__(Bandit())
        self._p = p

    def step(self, action: Any) -> Step:
        """Raise RuntimeError, or step the Bandit."""
        if self.np_random.random() < self._p:
            raise RuntimeError("this environment crashes on purpose")
        return self.env.step(action)  # type: ignore[return-value]


class Hang(gym.Wrapper[Any, Any, Any, Any]):
    """A Bandit that sleeps for ever after `n` steps, counted over all episodes."""

    def __init__(self, *, n: int = 100) -> None:
        super().__init__(Bandit())
        self._remaining = n

    def step(self, action: Any) -> Step:
        """Step the Bandit, or never return."""
        while self._remaining <= 0:
            time.sleep(1.0)
        self._remaining -= 1
        return self.env.step(action)  # type: ignore[return-value]


class NaN(gym.Wrapper[Any, Any, Any, Any]):
    """A Bandit whose observations and rewards are NaN with probability `p`.

    An observation and its reward are spoilt independently of each other.
    """

    def __init__(self, *, p: float = 0.01) -> None:
        super().__init__(Bandit())
        self._p = p

    def step(self, action: Any) -> Step:
        """Step the Bandit, and spoil what it returns now and then."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        spoil_observation, spoil_reward = self.np_random.random(2) < self._p
        if spoil_observation:
            observation = np.full_like(observation, np.nan)
        if spoil_reward:
            reward = float("nan")
        return observation, reward, terminated, truncated, info


def _one_hot(index: int, size: int) -> Vector:
    vector = np.zeros(size, np.float32)
    vector[index] = 1.0
    return vector


for _toy in (Recall, Bandit, Corridor, Aim, Dials, Crash, Hang, NaN):
    if f"{_toy.__name__}-v0" not in gym.registry:
        gym.register(f"{_toy.__name__}-v0", entry_point=f"envs.toys:{_toy.__name__}")
