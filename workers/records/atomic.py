"""Files that change whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a new file; it replaces `path` if the block succeeds, and is deleted if not. OSError.

    Only one process may write `path`. `durable`: the new file survives a power cut.
    """
    temporary = temporary_path(path)
    try:
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


def write_json(path: Path, obj: object, *, durable: bool = True) -> None:
    """Replace `path` by `obj` as strict JSON; NaN and infinity become null. OSError."""
    text = json.dumps(_plain(obj), indent=2, allow_nan=False) + "\n"
    with replacing(path, durable=durable) as file:
        file.write(text.encode())


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
