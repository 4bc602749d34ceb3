"""Objects of classes that are written in Python."""

from __future__ import annotations

import struct
import types
from collections import deque
from collections.abc import Collection
from enum import Enum
from typing import Any

import gymnasium as gym

from envs.state.items import BASES
from envs.state.kinds import Children, Kind, kind_name

# Attributes of gymnasium's wrappers that are settings, which may change on resume.
_SETTINGS = ("_saved_kwargs", "_cached_spec")
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, or by C code at run time
_POINTER = struct.calcsize("P")


class _Instance(Kind):
    """An object of a class that is written in Python: attributes, slots, and items.

    Its own code is not asked: neither `__getattribute__` nor `__setstate__` nor properties.
    """

    name = "object"

    def fits(self, value: Any) -> bool:
        cls = type(value)
        if cls is types.SimpleNamespace:
            return True
        return bool(cls.__flags__ & _HEAP_TYPE) and cls.__basicsize__ <= _size_in_python(cls)

    def label(self, value: Any) -> Any:
        cls = type(value)
        return [cls.__module__, cls.__qualname__, _base(cls).__name__, _maxlen(value)]

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        items = BASES[_base(type(value))]
        return [_is_own_dictionary(value), items and items.data(value)]

    def children(self, value: Any) -> Children:
        cls = type(value)
        result: Children = [("class", cls)]
        result += [(f".{name}", item) for name, item in _attributes(value).items()]
        for number, slot in enumerate(_slots(cls)):
            try:
                result.append((("slot", number), slot.__get__(value)))
            except AttributeError:
                continue  # it has no value
        items = BASES[_base(cls)]
        return result + ([] if items is None else [(("item", e), v) for e, v in items.read(value)])

    def make(self, label: Any, data: Any, children: Children) -> Any:
        cls: Any = children[0][1]
        if hasattr(cls, "__del__"):
            raise TypeError(f"a {cls.__qualname__}, which has a finalizer, can't be made anew")
        base: Any = _base(cls)
        made = base.__new__(cls)
        if base is deque:
            deque.__init__(made, maxlen=label[3])
        if data[0]:
            made.__dict__ = made
        return made

    def write(self, value: Any, data: Any, children: Children) -> None:
        cls = type(value)
        attributes = {e[1:]: item for e, item in children if isinstance(e, str) and e[0] == "."}
        if not data[0] and hasattr(value, "__dict__"):
            own = object.__getattribute__(value, "__dict__")
            kept = [name for name in _settings(value) if name in own and name not in attributes]
            settings = {name: own[name] for name in kept}
            own.clear()
            own.update(settings)
            own.update(attributes)
        slots = {e[1]: item for e, item in children if isinstance(e, tuple) and e[0] == "slot"}
        for number, slot in enumerate(_slots(cls)):
            if number in slots:
                slot.__set__(value, slots[number])
            elif _has(slot, value):
                slot.__delete__(value)
        items = BASES[_base(cls)]
        if items is not None:
            held = [(e[1], v) for e, v in children if isinstance(e, tuple) and e[0] == "item"]
            items.write(value, data[1], held)


class _HashingInstance(_Instance):
    """An object of a class derived from dict or set."""

    name = "hashing object"
    hashes = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict | set) and super().fits(value)


class _NamedTuple(Kind):
    """A tuple of a class of its own, without attributes."""

    name = "named tuple"
    immutable = True

    def fits(self, value: Any) -> bool:
        # What C calls a sequence of a structure has more fields than items.
        is_plain = isinstance(value, tuple) and not hasattr(value, "n_fields")
        return is_plain and not getattr(value, "__dict__", None)

    def label(self, value: Any) -> Any:
        return [type(value).__module__, type(value).__qualname__]

    def children(self, value: Any) -> Children:
        return [("class", type(value)), *enumerate(tuple.__iter__(value))]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return tuple.__new__(children[0][1], [item for _, item in children[1:]])


class _Member(Kind):
    """A member of an Enum, or a combination of flags."""

    name = "enum member"
    immutable = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, Enum)

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        if value.name in type(value).__members__:
            return ["name", value.name]
        if type(value.value) is int:
            return ["value", value.value]
        raise TypeError(f"a member of {kind_name(value)} without a name")

    def children(self, value: Any) -> Children:
        return [("class", type(value))]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        cls: Any = children[0][1]
        by, which = data
        return cls.__members__[which] if by == "name" else cls(which)


def _base(cls: type) -> type:
    """Return the built-in type that a class is derived from."""
    return next(base for base in cls.__mro__ if base in BASES)


def _size_in_python(cls: type) -> int:
    """Return the bytes that an object has whose class adds nothing but attributes and slots.

    Larger ones hold something of C's that cannot be seen.
    """
    base = _base(cls)
    places = len(_slots(cls))
    places += cls.__dictoffset__ > 0 and base.__dictoffset__ == 0
    places += cls.__weakrefoffset__ > 0 and base.__weakrefoffset__ == 0
    return base.__basicsize__ + places * _POINTER


def _slots(cls: type) -> list[Any]:
    return [
        item
        for base in cls.__mro__
        if base.__flags__ & _HEAP_TYPE and base not in BASES
        for item in vars(base).values()
        if isinstance(item, types.MemberDescriptorType)
    ]


def _has(slot: Any, value: Any) -> bool:
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def _settings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, gym.Wrapper):
        return ()
    name, own = "_max_episode_steps", vars(value)
    is_as_given = name in own and own[name] == own.get("_saved_kwargs", {}).get(name[1:])
    return (*_SETTINGS, name) if is_as_given else _SETTINGS


def _maxlen(value: Any) -> int | None:
    return deque.maxlen.__get__(value) if isinstance(value, deque) else None


def _is_own_dictionary(value: Any) -> bool:
    """Return whether an object's items are its attributes: `self.__dict__ = self`."""
    return isinstance(value, dict) and getattr(value, "__dict__", None) is value


def _attributes(value: Any) -> dict[str, Any]:
    if _is_own_dictionary(value):
        return {}
    try:
        own: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    settings = _settings(value)
    return {name: item for name, item in own.items() if name not in settings}


KINDS: tuple[Kind, ...] = (_Member(), _NamedTuple(), _HashingInstance(), _Instance())
