"""What a kind of objects is: how one is read, made anew, and written."""

from __future__ import annotations

import struct
from collections.abc import Collection, Hashable
from typing import Any, ClassVar

import torch

Edge = Hashable  # where an object stands in the one that holds it: a number, a name, a key
Children = list[tuple[Edge, Any]]

# Values that are copied: nobody can change them.
PLAIN = frozenset({type(None), bool, int, float, str, bytes, complex})


class Unsaveable(Exception):
    """An environment holds something that can't be saved; the message is one sentence."""


class Kind:
    """Objects of one kind consist of a label, data, and children, which are other objects.

    An object of a new environment may take the place of a saved one if their labels are equal.
    """

    name: ClassVar[str]
    fixed: ClassVar[bool] = False  # can't be made: taken from the new environment
    immutable: ClassVar[bool] = False  # made with its children, and never written
    hashes: ClassVar[bool] = False  # writing needs the hashes of its children

    def fits(self, value: Any) -> bool:
        """Return whether `value` is of this kind."""
        raise NotImplementedError

    def label(self, value: Any) -> Any:
        """Return what an object must have to take the place of `value`, in plain Python."""
        return None

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        """Return the content without children, in plain Python and tensors of bytes.

        `constants` are the digests of what has not changed since the environments were made; None
        where that is not asked. TypeError with the thing's name if it can't be saved.
        """
        return None

    def children(self, value: Any) -> Children:
        """Return the objects that `value` holds, each with its place."""
        return []

    def is_rigid(self, edge: Edge) -> bool:
        """Return whether the child that stands there can't be replaced."""
        return self.immutable

    def make(self, label: Any, data: Any, children: Children) -> Any:
        """Return a new object; one that is not immutable is filled by `write` afterwards."""
        raise TypeError("must be in the new environment")

    def write(self, value: Any, data: Any, children: Children) -> None:
        """Fill `value`, whatever it held before."""


def kind_name(value: Any) -> str:
    """Return the full name of a value's type."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def same(a: Any, b: Any) -> bool:
    """Return whether two saved values are the same, bit for bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return bool(a == b)
