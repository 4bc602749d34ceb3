"""Environments with prescribed frames, rewards and lives."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from envs.toys import Bandit


class Scripted(gym.Env[Any, Any]):
    """Game number g shows frames full of 100 * g + step.

    `lives` has the lives left after each step; 0 ends the game.
    """

    def __init__(
        self,
        *,
        lives: Sequence[int],
        rewards: Sequence[float] | None = None,
        shape: Sequence[int] = (1,),
    ) -> None:
        self.observation_space = Box(0.0, 1e9, tuple(shape), np.float32)
        self.action_space = Discrete(3)
        self.script = list(lives)
        self.script_rewards = list(rewards or [1.0] * len(lives))
        self.actions: list[int] = []
        self.games = 0
        self.elapsed = 0

    def get_action_meanings(self) -> list[str]:
        return ["NOOP", "FIRE", "RIGHT"]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.games += 1
        self.elapsed = 0
        return self.frame(), {"lives": self.script[0]}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(int(action))
        lives, reward = self.script[self.elapsed], self.script_rewards[self.elapsed]
        self.elapsed += 1
        return self.frame(), reward, lives == 0, False, {"lives": lives}

    def frame(self) -> Any:
        return np.full(self.observation_space.shape, 100.0 * self.games + self.elapsed, np.float32)


class Unbounded(Scripted):
    """Scripted, with actions that have no bounds."""

    def __init__(self) -> None:
        super().__init__(lives=[1, 0])
        self.action_space = Box(-np.inf, np.inf, (2,), np.float32)  # type: ignore[assignment]


if "Unbounded-v0" not in gym.registry:
    gym.register("Unbounded-v0", entry_point="tests.envs.fakes:Unbounded")


class Drawn(Bandit):
    """A Bandit with pictures: it may draw slowly, die of drawing, and note that it is closed."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 30}

    def __init__(
        self,
        *,
        render_mode: str | None = None,
        seconds: float = 0.0,
        dies: bool = False,
        repeats: bool = True,
        note: str | None = None,
    ) -> None:
        super().__init__()
        self.render_mode = render_mode
        self._seconds, self._dies, self._repeats, self._note = seconds, dies, repeats, note

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; without `repeats` it forgets the seed."""
        return super().reset(seed=seed if self._repeats else None, options=options)

    def render(self) -> Any:
        """Return a picture of the context."""
        time.sleep(self._seconds)
        if self._dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full((32, 32, 3), 80 * self._context, np.uint8)

    def close(self) -> None:
        """Write a line."""
        if self._note is not None:
            with open(self._note, "a") as file:
                file.write("closed\n")


if "Drawn-v0" not in gym.registry:
    gym.register("Drawn-v0", entry_point="tests.envs.fakes:Drawn")
