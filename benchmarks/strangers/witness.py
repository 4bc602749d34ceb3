"""An independent record of what an environment was given and gave, taken next to it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from numpy.typing import NDArray

LARGEST = 1e18  # about the largest number whose square is one of float32
TAPES: dict[int, Tape] = {}  # by the witness's identity, in the order in which they were made


@dataclass
class Tape:
    """What one environment was given and gave."""

    witness: Any  # kept, so that no other one gets its identity
    space: Any  # of observations, as it was at first
    is_finite: bool = True  # whether all numbers were, in float32 and squared
    wrong_actions: list[str] = field(default_factory=list)
    acted_on: list[Any] = field(default_factory=list)  # the observation before each step
    rewards: list[float] = field(default_factory=list)  # of each step
    episodes: list[tuple[float, int]] = field(default_factory=list)  # those that have ended
    latest: Any = None
    total: float = 0.0
    length: int = 0

    def see(self, observation: Any) -> None:
        """Note the latest observation."""
        self.latest = observation
        with contextlib.suppress(ValueError, TypeError, KeyError, IndexError, AttributeError):
            self.is_finite &= bool((abs(flat(self.space, observation)) < LARGEST).all())

    def end(self) -> None:
        """Note the end of an episode, if one has begun."""
        if self.length:
            self.episodes.append((self.total, self.length))
        self.total, self.length = 0.0, 0


class Witness(gym.Wrapper[Any, Any, Any, Any]):
    """Pass everything on unchanged, and write it down.

    The tape is no attribute: it would be a part of the environment's saved state.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        TAPES[id(self)] = Tape(self, getattr(env, "observation_space", None))

    def reset(self, **options: Any) -> Any:
        """Reset, and end the episode on the tape."""
        result = self.env.reset(**options)
        tape = TAPES[id(self)]
        tape.end()
        if isinstance(result, tuple) and len(result) == 2:
            tape.see(copy.deepcopy(result[0]))
        return result

    def step(self, action: Any) -> Any:
        """Step, and judge the action."""
        tape = TAPES[id(self)]
        wrong = _wrong_action(action, self.env.action_space)
        if wrong:
            tape.wrong_actions.append(wrong)
        result = self.env.step(action)
        if isinstance(result, tuple) and len(result) == 5:
            tape.acted_on.append(tape.latest)
            tape.see(copy.deepcopy(result[0]))
            reward = _number(result[1])
            tape.is_finite &= abs(reward) < LARGEST
            tape.rewards.append(reward)
            tape.total += reward
            tape.length += 1
        return result


def watched(spec: EnvSpec) -> EnvSpec:
    """Return a specification of the same environment with a witness."""
    wrapper = WrapperSpec("Witness", f"{__name__}:Witness", {})
    return dataclasses.replace(spec, additional_wrappers=(*spec.additional_wrappers, wrapper))


def flat(space: gym.Space[Any], value: Any) -> NDArray[np.float32]:
    """Return an observation as a vector, written anew from gymnasium's definition.

    Raises ValueError if the value has not the space's shape.
    """
    match space:
        case gym.spaces.Dict():
            parts = [flat(part, value[key]) for key, part in space.spaces.items()]
        case gym.spaces.Tuple():
            parts = [flat(part, value[i]) for i, part in enumerate(space.spaces)]
        case gym.spaces.Discrete():
            return _one_hot(int(value) - int(space.start), int(space.n))
        case gym.spaces.MultiDiscrete():
            choices = (np.asarray(value) - space.start).reshape(-1)
            pairs = zip(choices, space.nvec.reshape(-1), strict=True)
            parts = [_one_hot(int(choice), int(size)) for choice, size in pairs]
        case gym.spaces.Box() | gym.spaces.MultiBinary():
            array = np.asarray(value)
            if array.shape != space.shape:
                raise ValueError(f"{array.shape} instead of {space.shape}")
            with np.errstate(over="ignore"):
                return array.astype(np.float32).reshape(-1)
        case _:
            parts = [np.asarray(gym.spaces.utils.flatten(space, value), np.float32).reshape(-1)]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _one_hot(index: int, size: int) -> NDArray[np.float32]:
    if not 0 <= index < size:
        raise ValueError(f"choice {index} of {size}")
    vector = np.zeros(size, np.float32)
    vector[index] = 1.0
    return vector


def _number(reward: Any) -> float:
    try:
        return float(np.asarray(reward, np.float64).reshape(()))
    except (TypeError, ValueError):
        return float("nan")


def _wrong_action(action: Any, space: gym.Space[Any]) -> str:
    """Return what is wrong with an action, or no text."""
    if not space.contains(action):
        return f"{action!r} is not in {space}"
    if space.dtype is not None and isinstance(action, np.ndarray) and action.dtype != space.dtype:
        return f"{action!r} is no {space.dtype}"
    return ""
