"""What an environment's methods must return, and the sentence where they return something else."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import gymnasium as gym

from envs.faults import name_of
from envs.ids import EnvironmentProblem
from envs.reasons import reason

_READERS = (
    Path(__file__).parent,
    Path(gym.__file__).parent / "wrappers",
    Path(gym.__file__).parent / "core.py",
)


def check_reset(env: gym.Env[Any, Any], result: Any) -> tuple[Any, dict[str, Any]]:
    """Return what reset() returned. EnvironmentProblem unless it is a pair."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise EnvironmentProblem(
            f"{name_of(env)}: reset() must return (observation, info), as in gymnasium, "
            f"and returned {_described(result)}; old environments need a wrapper such as shimmy's."
        )
    return result


def refuse_unreadable_step(env: gym.Env[Any, Any], error: Exception) -> None:
    """Raise EnvironmentProblem if an error arose where step()'s result was read."""
    file = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    if any(file.is_relative_to(reader) for reader in _READERS):
        raise EnvironmentProblem(
            f"{name_of(env)}: step() must return (observation, reward, terminated, truncated, "
            f"info), as in gymnasium, and what it returned could not be read ({reason(error)}); "
            "old environments need a wrapper such as shimmy's."
        ) from error


def _described(result: Any) -> str:
    if isinstance(result, tuple):
        return f"{len(result)} values"
    return "None" if result is None else f"a {type(result).__name__}"
