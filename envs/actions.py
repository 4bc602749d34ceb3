"""Actions as policies give them.

They are flat vectors: of numbers, in [-1, 1] wherever there are bounds, or of choices from 0 up.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete


def is_bounded(space: Box) -> bool:
    """Return whether every number of an action has a lowest and a highest value."""
    return bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())


def adapt_actions(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return `env` with an action space that a policy can give.

    Box: float32 [A] with bounds -1 and 1; numbers without bounds keep their scale.
    MultiDiscrete and MultiBinary: int64 [D], the number of each choice.
    Discrete: an int from 0 up. Other spaces stay as they are.
    """
    own = env.action_space
    if isinstance(own, Box) and np.issubdtype(own.dtype, np.floating):
        return _adapt_box(env, own)
    if isinstance(own, MultiDiscrete):
        space = MultiDiscrete(own.nvec.reshape(-1))
        return gym.wrappers.TransformAction(
            env, lambda action: action.reshape(own.shape) + own.start, space
        )
    if isinstance(own, MultiBinary):
        space = MultiDiscrete([2] * int(np.prod(own.shape)))
        return gym.wrappers.TransformAction(
            env, lambda action: action.reshape(own.shape).astype(own.dtype), space
        )
    if isinstance(own, Discrete) and own.start != 0:
        return gym.wrappers.TransformAction(
            env, lambda action: action + own.start, Discrete(int(own.n))
        )
    return env


def _adapt_box(env: gym.Env[Any, Any], own: Box) -> gym.Env[Any, Any]:
    space = Box(own.low.reshape(-1), own.high.reshape(-1), dtype=own.dtype)
    if len(own.shape) != 1 or not is_bounded(own):
        # No clipping is needed where all numbers have bounds: the policy clips to [-1, 1] itself.
        env = gym.wrappers.TransformAction(
            env, lambda action: np.clip(action.reshape(own.shape), own.low, own.high), space
        )
    finite = np.isfinite(space.low) & np.isfinite(space.high)
    low = np.where(finite, -1.0, space.low)
    high = np.where(finite, 1.0, space.high)
    if (low == space.low).all() and (high == space.high).all():
        return env
    return gym.wrappers.RescaleAction(env, low.astype(np.float32), high.astype(np.float32))
