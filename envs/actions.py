"""Box actions as policies give them: flat float32 vectors in [-1, 1] wherever the environment has bounds."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box


def is_bounded(space: Box) -> bool:
    """Whether every number of an action has a lowest and a highest value."""
    return bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())


def adapt_actions(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Takes float32 [A] with bounds -1 and 1 instead of the environment's own Box; numbers without bounds stay as they are."""
    space = env.action_space
    assert isinstance(space, Box)
    if not is_bounded(space):
        env = gym.wrappers.ClipAction(env)  # a policy clips to -1 and 1 itself, but only where all numbers have bounds
    if len(space.shape) != 1:
        flat = Box(space.low.reshape(-1), space.high.reshape(-1), dtype=space.dtype)
        env = gym.wrappers.TransformAction(env, lambda action: action.reshape(space.shape), flat)
        space = flat
    finite = np.isfinite(space.low) & np.isfinite(space.high)
    low, high = np.where(finite, -1.0, space.low), np.where(finite, 1.0, space.high)
    if (low == space.low).all() and (high == space.high).all():
        return env
    return gym.wrappers.RescaleAction(env, low.astype(np.float32), high.astype(np.float32))
