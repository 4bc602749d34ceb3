"""Files that change whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from workers.records.faults import FULL, naming


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file; it replaces `path` if the block succeeds, and is deleted if not.

    An OSError names `path`. Only one process may write `path`. `durable`: the new file survives a
    power cut.
    """
    temporary = temporary_path(path)
    try:
        with naming(path):
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        _sync_directory(path.parent)


def temporary_path(path: Path) -> Path:
    """Name the file beside `path` that this process writes before it replaces `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_json(path: Path, obj: object) -> None:
    """Replace `path` by `obj` as strict JSON; NaN and infinity become null. OSError."""
    with replacing(path) as file:
        file.write(_json(obj))


def write_json_often(path: Path, obj: object) -> None:
    """Replace `path` as `write_json` does, many times; a power cut may lose it. OSError.

    Where there is no room for a new file, the old one's room is written over.
    """
    data = _json(obj)
    try:
        with replacing(path, durable=False) as file:
            file.write(data)
    except OSError as error:
        written = _write_over(path, data)
        if not written or error.errno not in FULL:
            raise


def _write_over(path: Path, data: bytes) -> bool:
    """Write over a file in its place; return whether that succeeded."""
    # In one write, and not shorter than the file, so that readers see the old object or the new.
    with contextlib.suppress(OSError), open(path, "r+b", buffering=0) as file:
        padded = data.ljust(path.stat().st_size)
        return file.write(padded) == len(padded)
    return False


def _json(obj: object) -> bytes:
    return (json.dumps(_plain(obj), indent=2, allow_nan=False) + "\n").encode()


def _plain(obj: object) -> object:
    """Convert nested containers and numbers to what JSON can hold."""
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if obj is None or isinstance(obj, str | bool | int):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if hasattr(obj, "tolist"):  # numpy's and torch's numbers and arrays, without importing either
        return _plain(obj.tolist())
    return str(obj)


def _sync_directory(directory: Path) -> None:
    # A rename survives a power cut only after its folder has been written to disk.
    # Windows cannot open folders, and does not need this.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
