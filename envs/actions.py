"""Actions: what policies give, and the environment's own actions, which are made of it here only.

Policies give flat vectors: float32 numbers, in [-1, 1] wherever there are bounds, or int64 choices
from 0 up. The environment gets an action of its own space, of the type that `space.sample()` has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from numpy.typing import NDArray

ActionMaker = Callable[[Any], Any]


def is_bounded(space: Box) -> bool:
    """Return whether every number of an action has a lowest and a highest value."""
    return bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())


def adapt_actions(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return `env` with an action space that a policy can give; see `policy_space`.

    `env` itself is returned if what a policy gives is one of its own actions.
    """
    own = env.action_space
    given = policy_space(own)
    if given is own or _is_given(own):
        return env
    return OwnActions(env, action_maker(own), given)


class OwnActions(gym.wrappers.TransformAction[Any, Any, Any]):
    """Give the environment its own actions; see `action_maker`."""


def own_space(env: gym.Env[Any, Any]) -> Space[Any]:
    """Return the space of an adapted environment's own actions."""
    layer = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, OwnActions):
            return layer.env.action_space
        layer = layer.env
    return env.action_space


def policy_space(own: Space[Any]) -> Space[Any]:
    """Return the space of what a policy gives for actions of the space `own`.

    Box: float32 [A] with bounds -1 and 1; numbers without two bounds keep theirs.
    MultiDiscrete and MultiBinary: int64 [D], the number of each choice.
    Discrete: int64, from 0 up. Other spaces stay as they are.
    """
    if isinstance(own, Box) and np.issubdtype(own.dtype, np.floating):
        with np.errstate(over="ignore"):  # a bound that float32 cannot hold is none
            low, high = (bound.reshape(-1).astype(np.float32) for bound in (own.low, own.high))
        bounded = (np.isfinite(own.low) & np.isfinite(own.high)).reshape(-1)
        return Box(np.where(bounded, np.float32(-1), low), np.where(bounded, np.float32(1), high))
    if isinstance(own, MultiDiscrete):
        return MultiDiscrete(own.nvec.reshape(-1).astype(np.int64))
    if isinstance(own, MultiBinary):
        return MultiDiscrete([2] * int(np.prod(own.shape)))
    if isinstance(own, Discrete):
        return Discrete(int(own.n))
    return own


def action_maker(own: Space[Any]) -> ActionMaker:
    """Return the function from what a policy gives to an action of the space `own`.

    What a policy gives is one action of `policy_space(own)`; numbers beyond its bounds are clipped.
    The action has the space's own type (NumPy's scalar for Discrete, else an array of its shape),
    and the space contains it.
    """
    if isinstance(own, Box) and np.issubdtype(own.dtype, np.floating):
        return _box_maker(own)
    if isinstance(own, MultiDiscrete):
        return lambda given: np.add(
            np.asarray(given).reshape(own.shape), own.start, dtype=own.dtype, casting="unsafe"
        )
    if isinstance(own, MultiBinary):
        return lambda given: np.array(given, own.dtype).reshape(own.shape)
    if isinstance(own, Discrete):
        number, start = own.dtype.type, int(own.start)
        return lambda given: number(int(given) + start)
    return lambda given: given


class Scaling(NamedTuple):
    """Box actions are clip(middle + half * given, low, high), each [A] in float64 or wider.

    Numbers without two bounds have middle 0 and half 1.
    """

    middle: NDArray[Any]
    half: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]


def scaling(own: Box) -> Scaling:
    """Return how what a policy gives becomes an action of the Box `own`."""
    wide = np.result_type(own.dtype, np.float64)
    low, high = (bound.reshape(-1).astype(wide) for bound in (own.low, own.high))
    bounded = np.isfinite(low) & np.isfinite(high)
    # Halves first: the difference of two bounds may be more than the type can hold.
    lows, highs = np.where(bounded, low, 0) / 2, np.where(bounded, high, 0) / 2
    largest = np.finfo(str(own.dtype)).max.astype(wide)
    return Scaling(
        middle=highs + lows,
        half=np.where(bounded, highs - lows, 1),
        low=np.maximum(low, -largest),
        high=np.minimum(high, largest),
    )


def _box_maker(own: Box) -> ActionMaker:
    middle, half, low, high = scaling(own)
    dtype, shape = own.dtype, own.shape

    def make(given: Any) -> NDArray[Any]:
        # The bounds are numbers of the space's own type: no rounding leads out of them again.
        numbers = np.minimum(np.maximum(given * half + middle, low), high)
        action: NDArray[Any] = numbers.astype(dtype)
        return action

    return make if len(shape) == 1 else lambda given: make(given).reshape(shape)


def _is_given(own: Space[Any]) -> bool:
    """Return whether every action that a policy gives is one of the space `own` as it is."""
    if isinstance(own, Box):
        same = own.dtype == np.float32 and len(own.shape) == 1
        unit = (own.low == -1).all() and (own.high == 1).all()
        # Policies clip to -1 and 1, and do not clip where anything has no bounds.
        return bool(same and (unit or np.isinf([own.low, own.high]).all()))
    given = policy_space(own)
    return own == given and own.dtype == given.dtype
