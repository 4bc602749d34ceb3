"""Observations other than pictures, as flat float32 vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from envs.faults import check_numbers, name_of
from envs.ids import EnvironmentProblem

Read = Callable[[Any], NDArray[np.float32]]
LONGEST = 10_000  # numbers of a vector; a first layer of 256 units has 2.6 million weights then
SMALLEST_PICTURE = 16  # pixels, on both sides
LONGEST_TEXT = 160  # letters of a space or a value in a message
_FLOAT32 = np.dtype(np.float32)
_INFINITY = float("inf")


def describe(space: gym.Space[Any]) -> str:
    """Return a space as one line of limited length; its type's name if it has no text."""
    text = str(space)
    return type(space).__name__ if text.startswith("<") else _shortened(text)


def has_fixed_size(space: gym.Space[Any]) -> bool:
    """Return whether observations of a space can be flattened into vectors of one size, not 0."""
    try:
        flat = gym.spaces.utils.flatten_space(space) if space.is_np_flattenable else None
    # A space of somebody else's, perhaps inside another one; an empty Dict or Tuple inside.
    except (NotImplementedError, ValueError):
        return False
    return isinstance(flat, Box) and flat.shape[0] > 0


def picture_in(space: gym.Space[Any]) -> Box | None:
    """Return the first part of `space` that is a picture, of whatever type its numbers are."""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        parts = space.values() if isinstance(space, gym.spaces.Dict) else space
        return next(filter(None, map(picture_in, parts)), None)
    if not isinstance(space, Box) or len(space.shape) not in (2, 3):
        return None
    return space if sorted(space.shape)[-2] >= SMALLEST_PICTURE else None


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

    That includes Box, Discrete (one-hot), Dict and Tuple. Every observation is an array of its own,
    and has been checked. Raises TypeError for other spaces.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        flat = gym.spaces.utils.flatten_space(env.observation_space)
        if not isinstance(flat, gym.spaces.Box):
            raise TypeError(f"{env.observation_space} has no fixed size")
        self._read = _reader(env.observation_space, "the observation")
        low = flat.low.astype(np.float32)
        high = flat.high.astype(np.float32)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)

    def observation(self, observation: Any) -> NDArray[np.float32]:
        """Flatten one observation.

        FaultyNumber if it has a number that nothing can be learned from. EnvironmentProblem if it
        is not of the form that the space promises.
        """
        try:
            flat = self._read(observation)
        except _OtherForm as problem:
            raise EnvironmentProblem(
                f"{name_of(self)} {problem}; let reset() and step() return what its "
                "observation_space says"
            ) from None
        # One product sees that all is well, in a tenth of the time that looking at each takes.
        if not flat.dot(flat) < _INFINITY:
            check_numbers(self, flat)
        return flat


class _OtherForm(Exception):
    """An observation is not what its space promises: promised what, and gave what."""

    def __init__(self, where: str, promised: str, given: str) -> None:
        super().__init__(f"promised {promised} as {where} and gave {given}")


def _reader(space: gym.Space[Any], where: str) -> Read:
    """Return the function from an observation of `space` to a fresh vector. It raises _OtherForm.

    `where` names the observation in messages.
    """
    if isinstance(space, Box | MultiBinary):
        return _numbers(space, where)
    if isinstance(space, Discrete | MultiDiscrete):
        return _choices(space, where)
    if isinstance(space, gym.spaces.Dict):
        entries = {name: _reader(part, f"{where}[{name!r}]") for name, part in space.items()}
        return _entries(entries, where)
    if isinstance(space, gym.spaces.Tuple):
        items = [_reader(part, f"{where}[{i}]") for i, part in enumerate(space)]
        return _items(items, where)
    return _others(space, where)


def _numbers(space: Box | MultiBinary, where: str) -> Read:
    shape = space.shape

    def read(given: Any) -> NDArray[np.float32]:
        array = given if type(given) is np.ndarray else _array(given)
        if array.shape != shape or array.dtype.kind not in "biuf":
            raise _OtherForm(where, describe(space), _described(given))
        return array.astype(_FLOAT32).ravel()

    return read


def _choices(space: Discrete | MultiDiscrete, where: str) -> Read:
    shape = space.shape
    sizes = np.reshape(space.n if isinstance(space, Discrete) else space.nvec, -1).tolist()
    # Plain numbers are faster than arrays here, and have no types that do not go together.
    starts, total = np.reshape(space.start, -1).tolist(), sum(sizes)

    def read(given: Any) -> NDArray[np.float32]:
        array = _array(given)
        if array.shape != shape or array.dtype.kind not in "iub":
            raise _OtherForm(where, describe(space), _described(given))
        flat, begin = np.zeros(total, _FLOAT32), 0
        for number, start, size in zip(array.ravel().tolist(), starts, sizes, strict=True):
            if not start <= number < start + size:
                raise _OtherForm(where, describe(space), _shortened(repr(array.tolist())))
            flat[begin + number - start] = 1.0
            begin += size
        return flat

    return read


def _entries(readers: Mapping[str, Read], where: str) -> Read:
    def read(given: Any) -> NDArray[np.float32]:
        if not isinstance(given, Mapping):
            raise _OtherForm(where, _entries_named(readers), _described(given))
        if not readers.keys() <= given.keys():
            raise _OtherForm(where, _entries_named(readers), _entries_named(given))
        return np.concatenate([reader(given[name]) for name, reader in readers.items()])

    return read


def _items(readers: list[Read], where: str) -> Read:
    def read(given: Any) -> NDArray[np.float32]:
        if not isinstance(given, tuple | list) or len(given) != len(readers):
            came = f"one of {len(given)}" if isinstance(given, tuple | list) else _described(given)
            raise _OtherForm(where, f"a tuple of {len(readers)}", came)
        return np.concatenate([reader(part) for reader, part in zip(readers, given, strict=True)])

    return read


def _others(space: gym.Space[Any], where: str) -> Read:
    def read(given: Any) -> NDArray[np.float32]:
        try:
            return np.array(gym.spaces.utils.flatten(space, given), _FLOAT32).ravel()
        except Exception:  # gymnasium raises whatever reading something else raises
            raise _OtherForm(where, describe(space), _described(given)) from None

    return read


def _array(given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError:  # lists of different lengths
        return np.array(given, object)


def _described(given: Any) -> str:
    array = _array(given)
    return _shortened(repr(given)) if array.ndim == 0 else f"shape {array.shape} of {array.dtype}"


def _entries_named(mapping: Mapping[str, Any]) -> str:
    return _shortened(f"the entries {', '.join(map(repr, mapping))}")


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
