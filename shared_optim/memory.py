"""Tensors that several processes read and write."""

import ctypes
import math
import shutil
import tempfile
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

RESERVE = 1 << 16  # bytes left for the file system itself


class SharedTensor:
    """A tensor in anonymous shared memory, zero at first.

    Pass it to a child process as an argument, under any start method. It is an unlinked memory map
    that children inherit by descriptor. So nothing is left behind when a process is killed, tensors
    share descriptors, and macOS needs no manager process. Nothing in it is locked.
    """

    def __init__(self, *shape: int, dtype: torch.dtype, context: BaseContext) -> None:
        """Allocate zeros. OSError if there is no room for them."""
        num_bytes = max(1, math.prod(shape)) * dtype.itemsize
        _require_room(num_bytes)
        try:
            self._raw: Any = context.RawArray(ctypes.c_char, num_bytes)
        except OSError as error:  # of a temporary file, whose name says nothing
            error.filename = f"{_size(num_bytes)} of shared memory"
            raise
        self._shape = shape
        self._dtype = dtype

    @property
    def tensor(self) -> Tensor:
        """A view of the memory; write it in place."""
        return torch.frombuffer(self._raw, dtype=self._dtype, count=math.prod(self._shape)).view(
            self._shape
        )


def _require_room(num_bytes: int) -> None:
    # A map is created even without room for it. The first write to it is then a bus error, which
    # cannot be caught.
    folders = [folder for folder in ("/dev/shm", tempfile.gettempdir()) if Path(folder).is_dir()]
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    if not any(room > num_bytes + RESERVE for room in free.values()):
        rooms = " or ".join(f"{folder} ({_size(room)} free)" for folder, room in free.items())
        raise OSError(
            f"{_size(num_bytes)} of shared memory do not fit into {rooms}; "
            "give the container more (docker run --shm-size=1g), or point TMPDIR to a larger folder"
        )


def _size(num_bytes: int) -> str:
    """Write a size, rounded up, so that what is needed is never 0."""
    unit, name = (2**20, "MB") if num_bytes >= 2**20 else (2**10, "KB")
    return f"{math.ceil(num_bytes / unit)} {name}"
