"""What built-in containers hold, and how it is read and written."""

from __future__ import annotations

import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from enum import Enum
from itertools import permutations
from typing import Any, cast

import numpy as np

from envs.state.kinds import PLAIN, Children

_FEW = 6


class Items:
    """What a container of type `base` holds. Methods of `base` are called, no one's own."""

    def __init__(self, base: type) -> None:
        self.base = base

    def read(self, value: Any) -> Children:
        """Return what a container holds, each with its place."""
        return list(enumerate(self.base.__iter__(value)))  # type: ignore[attr-defined]

    def data(self, value: Any) -> Any:
        """Return what else there is to a container, in plain Python."""
        return None

    def write(self, value: Any, data: Any, items: Children) -> None:
        """Let a container hold `items` and nothing else."""
        base: Any = self.base
        base.clear(value)
        base.extend(value, [item for _, item in items])


class _Pairs(Items):
    """The pairs of a dictionary, in order: a plain key is the item's place."""

    def read(self, value: Any) -> Children:
        result: Children = []
        for i, (key, item) in enumerate(self.base.items(value)):  # type: ignore[attr-defined]
            if type(key) in PLAIN:
                result.append((("of", key), item))
            else:
                result += [(("key", i), key), (("at", i), item)]
        return result

    def write(self, value: Any, data: Any, items: Children) -> None:
        base: Any = self.base
        base.clear(value)
        key: Any = None
        for edge, item in items:
            where, name = cast(tuple[str, Any], edge)
            if where == "key":
                key = item
            else:
                base.__setitem__(value, name if where == "of" else key, item)


class _DefaultPairs(_Pairs):
    """The pairs of a defaultdict, and what makes its missing items."""

    def read(self, value: Any) -> Children:
        return [(("factory", 0), value.default_factory), *super().read(value)]

    def write(self, value: Any, data: Any, items: Children) -> None:
        value.default_factory = items[0][1]
        super().write(value, data, items[1:])


class _Elements(Items):
    """The elements of a set, in the order in which it is iterated, and the size of its table."""

    def read(self, value: Any) -> Children:
        return list(enumerate(ordered(value)))

    def data(self, value: Any) -> Any:
        # Of two sets with the same elements the larger table may have another order.
        return 0 if any(map(_hash_differs, value)) else set.__sizeof__(value)

    def write(self, value: Any, data: Any, items: Children) -> None:
        elements = [element for _, element in items]
        # The order also tells which of two colliding elements came first. So a set that is right
        # stays, and of a small one all orders are tried; another one may come out differently.
        orders = permutations(elements) if len(elements) <= _FEW else iter([tuple(elements)])
        while not _alike(ordered(value), elements) or self.data(value) != data:
            order = next(orders, None)
            if order is None:
                return
            set.clear(value)
            for element in order:
                set.add(value, element)


def _alike(a: Any, b: Any) -> bool:
    """Return whether two elements of sets, or sequences of them, are one and the same value."""
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_alike, a, b))
    return (type(a) in PLAIN or isinstance(a, np.generic)) and bool(a == b)


def ordered(elements: Iterable[Any]) -> list[Any]:
    """Return the elements of a set in order.

    Hashes of strings differ from process to process, so the order of their set says nothing: it is
    made the same. TypeError if the hashes are addresses.
    """
    result = list(elements)
    if any(_hash_differs(element) for element in result):
        result.sort(key=repr)
    return result


def _hash_differs(element: Any) -> bool:
    if type(element) in (tuple, frozenset):
        return any([_hash_differs(item) for item in element])
    cls: Any = type(element)
    if cls.__hash__ in (object.__hash__, type.__hash__):
        raise TypeError("a set of objects, whose order is that of their addresses")
    if isinstance(element, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
        raise TypeError("a set of functions, whose order is that of their addresses")
    return element is None or isinstance(element, str | bytes | Enum | np.str_ | np.bytes_)


# Built-in types that hold objects, and how each is read; object itself holds attributes only.
BASES: dict[type, Items | None] = {
    OrderedDict: _Pairs(OrderedDict),
    defaultdict: _DefaultPairs(defaultdict),
    dict: _Pairs(dict),
    list: Items(list),
    set: _Elements(set),
    deque: Items(deque),
    types.SimpleNamespace: None,
    object: None,
}
