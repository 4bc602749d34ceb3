"""Random generators of NumPy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from envs.state.kinds import Children, Edge, Kind

_BITS = (
    np.random.PCG64,
    np.random.PCG64DXSM,
    np.random.MT19937,
    np.random.Philox,
    np.random.SFC64,
)


class _Seeds(Kind):
    """A SeedSequence, which counts the generators that it has seeded."""

    name = "seed sequence"

    def fits(self, value: Any) -> bool:
        return type(value) is np.random.SeedSequence

    def label(self, value: Any) -> Any:
        state = value.state
        if not isinstance(state["entropy"], int | None):
            state["entropy"] = [int(number) for number in state["entropy"]]
        state["spawn_key"] = [int(number) for number in state["spawn_key"]]
        return state

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return np.random.SeedSequence(**label)


class _Bits(Kind):
    """The part of a generator that has a state."""

    name = "bit generator"

    def fits(self, value: Any) -> bool:
        return type(value) in _BITS

    def label(self, value: Any) -> Any:
        return type(value).__name__

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return _pack(value.state)

    def children(self, value: Any) -> Children:
        return [("seeds", value.seed_seq)]

    def is_rigid(self, edge: Edge) -> bool:
        return True

    def make(self, label: Any, data: Any, children: Children) -> Any:
        cls = next(bits for bits in _BITS if bits.__name__ == label)
        seeds = children[0][1]
        if seeds is None:  # of a RandomState
            return np.random.RandomState(0)._bit_generator
        return cls(seeds)

    def write(self, value: Any, data: Any, children: Children) -> None:
        value.state = _unpack(data)


class _Generator(Kind):
    """NumPy's Generator."""

    name = "generator"

    def fits(self, value: Any) -> bool:
        return type(value) is np.random.Generator

    def children(self, value: Any) -> Children:
        return [("bits", value.bit_generator)]

    def is_rigid(self, edge: Edge) -> bool:
        return True

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return np.random.Generator(children[0][1])


class _RandomState(Kind):
    """NumPy's former generator, which keeps half of a pair of normal numbers."""

    name = "RandomState"

    def fits(self, value: Any) -> bool:
        if type(value) is not np.random.RandomState:
            return False
        return type(value._bit_generator) is np.random.MT19937

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        state = value.get_state(legacy=False)
        return [state["has_gauss"], state["gauss"]]

    def children(self, value: Any) -> Children:
        return [("bits", value._bit_generator)]

    def is_rigid(self, edge: Edge) -> bool:
        return True

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return np.random.RandomState(children[0][1])

    def write(self, value: Any, data: Any, children: Children) -> None:
        state = value.get_state(legacy=False)
        state["has_gauss"], state["gauss"] = data
        value.set_state(state)


class _Random(Kind):
    """Python's generator."""

    name = "random.Random"

    def fits(self, value: Any) -> bool:
        return type(value) is random.Random and vars(value).keys() <= {"gauss_next"}

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return list(value.getstate())

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return random.Random()

    def write(self, value: Any, data: Any, children: Children) -> None:
        value.setstate(tuple(data))


def _pack(state: Any) -> Any:
    """Replace the arrays of a state by [type, bytes]."""
    if isinstance(state, dict):
        return {name: _pack(item) for name, item in state.items()}
    if isinstance(state, np.ndarray):
        return [state.dtype.str, torch.from_numpy(state.view(np.uint8).copy())]
    return int(state) if isinstance(state, np.integer) else state


def _unpack(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _unpack(item) for name, item in state.items()}
    if isinstance(state, list):
        return np.frombuffer(state[1].numpy(), state[0]).copy()
    return state


KINDS: tuple[Kind, ...] = (_Seeds(), _Bits(), _Generator(), _RandomState(), _Random())
