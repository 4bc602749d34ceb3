"""Observations other than pictures, as flat float32 vectors."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

LONGEST_SPACE = 160  # letters of a space in a message


def describe(space: gym.Space[Any]) -> str:
    """Return a space as one line of limited length; its type's name if it has no text."""
    text = " ".join(str(space).split())
    if text.startswith("<"):
        return type(space).__name__
    return text if len(text) <= LONGEST_SPACE else f"{text[:LONGEST_SPACE]}..."


def has_fixed_size(space: gym.Space[Any]) -> bool:
    """Return whether observations of a space can be flattened into vectors of one size, not 0."""
    try:
        return bool(space.is_np_flattenable) and gym.spaces.utils.flatdim(space) > 0
    except NotImplementedError:  # a space of somebody else's, perhaps inside another one
        return False


class Ram(gym.ObservationWrapper[Any, Any, Any]):
    """Observe the console's 128 bytes as float32 [128] in 0..1."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (128,), np.float32)

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """Divide the bytes by 255."""
        scaled: NDArray[np.float32] = np.multiply(
            observation, np.float32(1 / 255), dtype=np.float32
        )
        return scaled


class Vector(gym.ObservationWrapper[Any, Any, Any]):
    """Observe any space of a fixed size as float32 [D], in gymnasium's order.

    That includes Box, Discrete (one-hot), Dict and Tuple. Raises TypeError for other spaces.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        flat = gym.spaces.utils.flatten_space(env.observation_space)
        if not isinstance(flat, gym.spaces.Box):
            raise TypeError(f"{env.observation_space} has no fixed size")
        self._space = env.observation_space
        self._is_box = isinstance(env.observation_space, gym.spaces.Box)
        low = flat.low.astype(np.float32)
        high = flat.high.astype(np.float32)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """Flatten one observation."""
        flat = observation if self._is_box else gym.spaces.utils.flatten(self._space, observation)
        return np.asarray(flat, np.float32).reshape(-1)
