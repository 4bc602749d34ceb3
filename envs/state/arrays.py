"""NumPy's arrays, their memory, its numbers and types."""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.lib.format import descr_to_dtype, dtype_to_descr
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from envs.state.kinds import Children, Edge, Kind, kind_name

BIG = 4096  # bytes from which on an array that has not changed is saved as its digest


def digest(memory: NDArray[Any]) -> str:
    """Return a digest of an array's memory."""
    return hashlib.sha256(memory.data).hexdigest()


def memory_of(array: NDArray[Any]) -> NDArray[Any]:
    """Return the memory that an array owns, as bytes [N] that are no copy."""
    return _flat(array).view(np.uint8) if array.nbytes else np.empty(0, np.uint8)


def is_big(value: Any) -> bool:
    """Return whether `value` is an array for which a digest may be saved."""
    return _Owner().fits(value) and value.nbytes >= BIG


def is_foreign(value: Any) -> bool:
    """Return whether `value` is an array whose memory belongs to something else."""
    owns = any(kind.fits(value) for kind in (_Owner(), _ObjectArray(), _View(), _Mapped()))
    return not owns and _Foreign().fits(value)


def address(array: NDArray[Any]) -> int:
    """Return where an array's first item lies in memory."""
    return int(array.__array_interface__["data"][0])


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Return a copy of an array's bytes."""
    return torch.from_numpy(np.frombuffer(bytearray(array.tobytes()), np.uint8).copy())


class _Owner(Kind):
    """An array that owns its memory; digests stand for big ones that have not changed."""

    name = "array"

    def fits(self, value: Any) -> bool:
        return _is_array(value) and _owns(value) and not value.dtype.hasobject

    def label(self, value: Any) -> Any:
        return [_spec(value.dtype), value.shape, value.strides]

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        writable = value.flags.writeable
        memory = memory_of(value)
        if value.nbytes >= BIG and constants and (known := digest(memory)) in constants:
            return [writable, known]
        return [writable, torch.from_numpy(memory.copy())]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return _empty(*label)

    def write(self, value: Any, data: Any, children: Children) -> None:
        writable, content = data
        value.flags.writeable = True
        if not isinstance(content, str):
            memory_of(value)[:] = content.numpy()
        value.flags.writeable = writable


class _ObjectArray(Kind):
    """An array of Python objects that owns its memory."""

    name = "array of objects"

    def fits(self, value: Any) -> bool:
        return _is_array(value) and _owns(value) and value.dtype == object

    def label(self, value: Any) -> Any:
        return [value.shape, value.strides]

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return value.flags.writeable

    def children(self, value: Any) -> Children:
        return list(enumerate(_flat(value).tolist()))

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return _empty("O", *label)

    def write(self, value: Any, data: Any, children: Children) -> None:
        value.flags.writeable = True
        flat = _flat(value)
        for i, (_, item) in enumerate(children):
            flat[i] = item
        value.flags.writeable = data


class _View(Kind):
    """An array in another one's memory."""

    name = "view"

    def fits(self, value: Any) -> bool:
        return _is_array(value) and _owner(value) is not None

    def label(self, value: Any) -> Any:
        owner = _owner(value)
        assert owner is not None
        start = address(value) - address(owner)
        if owner.dtype == object and not (value.flags.c_contiguous or value.flags.f_contiguous):
            raise TypeError("a view of an array of objects that is not contiguous")
        writable = value.flags.writeable
        kind = type(value).__name__
        return [kind, _spec(value.dtype), value.shape, value.strides, start, writable]

    def children(self, value: Any) -> Children:
        return [("owner", _owner(value))]

    def is_rigid(self, edge: Edge) -> bool:
        return True

    def make(self, label: Any, data: Any, children: Children) -> Any:
        kind, spec, shape, strides, start, writable = label
        owner = children[0][1]
        if spec == "O":
            made = _objects(_flat(owner), start, shape, strides)
        else:
            buffer = owner if type(owner) is np.memmap else memory_of(owner)
            made = np.ndarray(shape, _dtype(spec), buffer, start, strides)
            if kind == "memmap":
                made = made.view(np.memmap)
                vars(made).update(vars(owner))
        if not writable:
            made.flags.writeable = False
        return made


class _Mapped(Kind):
    """A mapped file, which is not saved: one that is only read."""

    name = "mapped file"
    fixed = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, np.memmap) and isinstance(value.base, mmap.mmap)

    def label(self, value: Any) -> Any:
        if value.flags.writeable:
            raise TypeError("a mapped file that it may write to")
        where = [str(value.filename), value.offset]
        return [_spec(value.dtype), value.shape, value.strides, *where]


class _Foreign(Kind):
    """An array whose memory belongs to something else, such as a simulator."""

    name = "array of another's memory"
    fixed = True

    def fits(self, value: Any) -> bool:
        return _is_array(value) and not value.dtype.hasobject

    def label(self, value: Any) -> Any:
        base = value
        while isinstance(base, np.ndarray):
            base = base.base
        return [_spec(value.dtype), value.shape, kind_name(base), value.flags.writeable]

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return to_tensor(value)

    def write(self, value: Any, data: Any, children: Children) -> None:
        if value.flags.writeable:
            value[...] = np.frombuffer(data.numpy(), value.dtype).reshape(value.shape)


class _Number(Kind):
    """A number, text or date of NumPy's."""

    name = "number"
    immutable = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, np.generic) and not isinstance(value, np.void | np.object_)

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return [_spec(value.dtype), value.tobytes()]

    def make(self, label: Any, data: Any, children: Children) -> Any:
        spec, content = data
        return np.ndarray((), _dtype(spec), content or b"\0")[()]


class _DType(Kind):
    """A type of numbers."""

    name = "dtype"
    immutable = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, np.dtype)

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return _spec(value)

    def make(self, label: Any, data: Any, children: Children) -> Any:
        return _dtype(data)


def _is_array(value: Any) -> bool:
    return type(value) in (np.ndarray, np.memmap)


def _owns(array: NDArray[Any]) -> bool:
    return type(array) is np.ndarray and array.base is None and array.flags.owndata


def _owner(array: NDArray[Any]) -> NDArray[Any] | None:
    """Return the array in whose memory an array lies; None if there is none."""
    owner: Any = array
    while _is_array(owner.base):
        owner = owner.base
    if owner is array:
        return None
    known = _Mapped().fits(owner) or _owns(owner)
    return owner if known else None


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """Return an owner's items in the order in which they lie in memory."""
    order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
    return array.transpose(order).reshape(-1)


def _empty(spec: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
    """Return an array that owns memory of this layout."""
    one = np.zeros(1, _dtype(spec))
    made: NDArray[Any] = np.empty_like(as_strided(one, shape, strides), order="K")
    return made


def _objects(
    flat: NDArray[Any], start: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> NDArray[Any]:
    first = start // flat.itemsize
    part = flat[first : first + math.prod(shape)]
    made = part.reshape(shape)
    return made if made.strides == strides else part.reshape(shape[::-1]).T


def _spec(dtype: np.dtype[Any]) -> Any:
    """Return a type in plain Python. TypeError if that would not be all."""
    if dtype.kind == "O":
        return "O"
    # A letter tells apart what is equal, such as `long` and `long long`.
    order = ">" if dtype.byteorder == ">" else "="
    spec: Any = order + dtype.char if dtype.kind in "biufc" else dtype.str
    if dtype.names is not None:
        spec = dtype_to_descr(dtype)
    if dtype.kind not in "biufcmMSUV" or dtype.metadata or _dtype(spec) != dtype:
        raise TypeError(f"numbers of the type {dtype}")
    return spec


def _dtype(spec: Any) -> np.dtype[Any]:
    return np.dtype(spec) if isinstance(spec, str) else descr_to_dtype(spec)


KINDS: tuple[Kind, ...] = (
    _Owner(),
    _ObjectArray(),
    _View(),
    _Mapped(),
    _Foreign(),
    _Number(),
    _DType(),
)
