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
    own = env.action_space
    assert isinstance(own, Box)
    space = Box(own.low.reshape(-1), own.high.reshape(-1), dtype=own.dtype)
    if len(own.shape) != 1 or not is_bounded(own):
        # Where all numbers have bounds, a policy clips to -1 and 1 itself.
        env = gym.wrappers.TransformAction(env, lambda action: np.clip(action.reshape(own.shape), own.low, own.high), space)
    finite = np.isfinite(space.low) & np.isfinite(space.high)
    low, high = np.where(finite, -1.0, space.low), np.where(finite, 1.0, space.high)
    if (low == space.low).all() and (high == space.high).all():
        return env
    return gym.wrappers.RescaleAction(env, low.astype(np.float32), high.astype(np.float32))
