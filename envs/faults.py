"""Numbers that an environment must not give."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from envs.ids import EnvironmentProblem

# What is larger has no square in float32, and squares are everywhere: in losses, in the norms of
# gradients, in Adam's moments. In a running variance it would hide all other numbers for good.
LARGEST = 1e19
_NUMBERS = f"must be finite and smaller than {LARGEST:g}"


class FaultyNumber(EnvironmentProblem):
    """An environment gave a number that is NaN, infinite or too large; ends its episode."""


def name_of(env: gym.Env[Any, Any]) -> str:
    """Return an environment's id, or its type's name if it was made without one."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def faulty_reward(env: gym.Env[Any, Any], reward: float) -> FaultyNumber:
    """Return the fault of a reward."""
    return FaultyNumber(f"{name_of(env)} gave the reward {reward:g}; rewards {_NUMBERS}")


def check_numbers(env: gym.Env[Any, Any], numbers: NDArray[np.float32]) -> None:
    """Raise FaultyNumber for the first faulty number of a flat observation [D], if there is one."""
    faulty = np.flatnonzero(~(np.abs(numbers) < LARGEST))
    if len(faulty) > 0:
        raise FaultyNumber(
            f"{name_of(env)} gave {numbers[faulty[0]]:g} as number {faulty[0]} of an observation "
            f"(of {len(numbers)}, from 0); observations {_NUMBERS}"
        )
