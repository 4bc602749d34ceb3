"""Environments with prescribed frames, rewards and lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


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
