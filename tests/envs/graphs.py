"""Environments that do to a graph of objects what a test says."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from envs.state import constants_of, load_states, save_states


class Holder(gym.Env[Any, Any]):
    """Holds what `build(self)` makes of it; each step and reset calls `change(self)`."""

    def __init__(
        self, build: Callable[[Any], None], change: Callable[[Any], Any] | None = None
    ) -> None:
        self.observation_space = Box(-1e9, 1e9, (1,), np.float32)
        self.action_space = Discrete(2)
        build(self)
        # Not an attribute, which would be saved: what a class says is code.
        type(self).change = staticmethod(change or (lambda env: None))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        type(self).change(self)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        type(self).change(self)
        return np.zeros(1, np.float32), 0.0, False, False, {}


def through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as a checkpoint gives it back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    result: dict[str, Any] = torch.load(buffer, weights_only=True)
    return result


def restored(make: Callable[[], Any], num_steps: int = 3) -> tuple[Any, Any]:
    """Return an environment after some steps, and a new one with its state."""
    first, second = make(), make()
    constants = constants_of([first])
    for env, seed, steps in ((first, 1, num_steps), (second, 2, 1)):
        env.reset(seed=seed)
        for _ in range(steps):
            env.step(0)
    load_states([second], through_a_file(save_states([first], constants)))
    return first, second


def held(build: Any, change: Any = None, num_steps: int = 3) -> tuple[Any, Any]:
    """Return a Holder after some steps, and a new one with its state."""
    return restored(lambda: Holder(build, change), num_steps)
