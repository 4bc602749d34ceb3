"""Lists, dictionaries, sets and their like."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from enum import Enum
from typing import Any

from envs.state.items import BASES, Items, ordered
from envs.state.kinds import Children, Kind, kind_name


class _Container(Kind):
    """A built-in container."""

    name = "container"

    def fits(self, value: Any) -> bool:
        return BASES.get(type(value)) is not None

    def label(self, value: Any) -> Any:
        return [type(value).__name__, getattr(value, "maxlen", None)]

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return _items(type(value)).data(value)

    def children(self, value: Any) -> Children:
        return _items(type(value)).read(value)

    def make(self, label: Any, data: Any, children: Children) -> Any:
        name, maxlen = label
        base = next(base for base in BASES if base.__name__ == name and BASES[base])
        return deque(maxlen=maxlen) if base is deque else base()

    def write(self, value: Any, data: Any, children: Children) -> None:
        _items(type(value)).write(value, data, children)


class _Hashing(_Container):
    """A built-in container that asks what it holds for hashes."""

    name = "hashing container"
    hashes = True

    def fits(self, value: Any) -> bool:
        return super().fits(value) and isinstance(value, dict | set)


class _Tuple(Kind):
    """A tuple."""

    name = "tuple"
    immutable = True

    def fits(self, value: Any) -> bool:
        return type(value) is tuple

    def children(self, value: Any) -> Children:
        return list(enumerate(value))

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return tuple([item for _, item in children])


class _FrozenSet(Kind):
    """A frozenset of values whose hashes are known before the objects are filled."""

    name = "frozenset"
    immutable = True

    def fits(self, value: Any) -> bool:
        return type(value) is frozenset

    def children(self, value: Any) -> Children:
        for element in value:
            if not isinstance(element, str | bytes | int | float | tuple | frozenset | Enum):
                raise TypeError(f"a frozenset that holds a {kind_name(element)}")
        return list(enumerate(ordered(value)))

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return frozenset([element for _, element in children])


def _items(base: type) -> Items:
    items = BASES[base]
    assert items is not None
    return items


KINDS: tuple[Kind, ...] = (_Hashing(), _Container(), _Tuple(), _FrozenSet())
