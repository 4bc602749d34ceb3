"""Functions, methods, classes and modules."""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import random
import sys
import types
from collections.abc import Collection
from typing import Any

import numpy as np

from envs.state.kinds import PLAIN, Children, Edge, Kind

_NAMED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    np.ufunc,
    type(np.sum),
)
# The process's own generators, which are saved elsewhere.
_GLOBALS: dict[str, Any] = {
    "numpy.random": np.random.mtrand._rand,
    "numpy.random, its bits": np.random.mtrand._rand._bit_generator,
    "random": random._inst,
}


class _Global(Kind):
    """What a module holds by name: a function, a class; or a module itself."""

    name = "global"
    fixed = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, _NAMED) and self._name(value) is not None

    def label(self, value: Any) -> Any:
        return self._name(value)

    def _name(self, value: Any) -> list[str] | None:
        if isinstance(value, types.ModuleType):
            return [value.__name__, ""] if sys.modules.get(value.__name__) is value else None
        module = getattr(value, "__module__", None) or "numpy"
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        if not isinstance(module, str) or not isinstance(name, str):
            return None
        return [module, name] if find(module, name) is value else None


def find(module: str, name: str) -> Any:
    """Return what a loaded module holds by this name; None if it is not there."""
    found: Any = sys.modules.get(module)
    for part in name.split(".") if name else ():
        found = inspect.getattr_static(found, part, None)
        if isinstance(found, staticmethod | classmethod):
            found = found.__func__
    return found


class _LocalClass(Kind):
    """A class that was made inside a function."""

    name = "local class"
    fixed = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, type)

    def label(self, value: Any) -> Any:
        return [value.__module__, value.__qualname__]


class _Function(Kind):
    """A function that was made inside a function; it may change what it has captured."""

    name = "function"
    fixed = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, types.FunctionType)

    def label(self, value: Any) -> Any:
        code = value.__code__
        known = [c for c in code.co_consts if type(c) in PLAIN]
        source = repr((code.co_code, code.co_names, code.co_freevars, known)).encode()
        return [value.__module__, value.__qualname__, hashlib.sha256(source).hexdigest()]

    def children(self, value: Any) -> Children:
        return [
            *enumerate(value.__closure__ or ()),
            ("defaults", value.__defaults__),
            ("keyword defaults", value.__kwdefaults__),
            *((f".{name}", item) for name, item in value.__dict__.items()),
        ]

    def is_rigid(self, edge: Edge) -> bool:
        return isinstance(edge, int)  # a captured variable

    def write(self, value: Any, data: Any, children: Children) -> None:
        parts = dict(children)
        value.__defaults__ = parts["defaults"]
        value.__kwdefaults__ = parts["keyword defaults"]
        value.__dict__.clear()
        for edge, item in parts.items():
            if isinstance(edge, str) and edge.startswith("."):
                value.__dict__[edge[1:]] = item


class _Cell(Kind):
    """A variable that functions have captured."""

    name = "captured variable"

    def fits(self, value: Any) -> bool:
        return type(value) is types.CellType

    def children(self, value: Any) -> Children:
        try:
            return [("", value.cell_contents)]
        except ValueError:
            return []  # it has no value

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return types.CellType()

    def write(self, value: Any, data: Any, children: Children) -> None:
        if children:
            value.cell_contents = children[0][1]
        elif self.children(value):
            del value.cell_contents


class _Method(Kind):
    """A function bound to an object."""

    name = "method"
    immutable = True

    def fits(self, value: Any) -> bool:
        return type(value) is types.MethodType

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        """Return the name by which the object's class knows the function, if it does."""
        name = getattr(value.__func__, "__name__", "")
        return name if _method(value.__self__, name) is value.__func__ else None

    def children(self, value: Any) -> Children:
        named = self.data(value, None) is not None
        return [("self", value.__self__), *([] if named else [("function", value.__func__)])]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        owner = children[0][1]
        return types.MethodType(children[1][1] if data is None else _method(owner, data), owner)


def _method(owner: Any, name: str) -> Any:
    found = inspect.getattr_static(owner if isinstance(owner, type) else type(owner), name, None)
    return found.__func__ if isinstance(found, classmethod) else found


class _BuiltinMethod(Kind):
    """A method of a built-in type, bound to an object."""

    name = "built-in method"
    immutable = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, types.BuiltinMethodType)

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return value.__name__

    def children(self, value: Any) -> Children:
        return [("self", value.__self__)]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        bound = getattr(children[0][1], data)
        if not isinstance(bound, types.BuiltinMethodType) or bound.__name__ != data:
            raise TypeError(f"{data} is not a method")
        return bound


class _Partial(Kind):
    """A function with some of its arguments."""

    name = "partial"
    immutable = True

    def fits(self, value: Any) -> bool:
        return type(value) is functools.partial and not value.__dict__

    def children(self, value: Any) -> Children:
        return [
            ("function", value.func),
            *enumerate(value.args),
            *((f".{name}", item) for name, item in value.keywords.items()),
        ]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        args = [item for edge, item in children[1:] if isinstance(edge, int)]
        named = {edge[1:]: item for edge, item in children[1:] if isinstance(edge, str)}
        return functools.partial(children[0][1], *args, **named)


class _Range(Kind):
    """A range or a slice of plain numbers."""

    name = "range"
    immutable = True

    def fits(self, value: Any) -> bool:
        return type(value) in (range, slice) and all(
            type(number) in PLAIN for number in (value.start, value.stop, value.step)
        )

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return [type(value).__name__, value.start, value.stop, value.step]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return {"range": range, "slice": slice}[data[0]](*data[1:])


class _Process(Kind):
    """What the process has one of: the global generators, and loggers."""

    name = "of the process"
    fixed = True

    def fits(self, value: Any) -> bool:
        return self.label(value) is not None

    def label(self, value: Any) -> Any:
        for name, generator in _GLOBALS.items():
            if value is generator:
                return name
        if isinstance(value, logging.Logger):
            return f"logger {value.name}"
        return None


KINDS: tuple[Kind, ...] = (
    _Process(),
    _Global(),
    _LocalClass(),
    _Function(),
    _Cell(),
    _Method(),
    _BuiltinMethod(),
    _Partial(),
    _Range(),
)
