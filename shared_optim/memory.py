"""Tensors that several processes write."""

import ctypes
import math
import shutil
import tempfile
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

RESERVE = 1 << 16  # bytes that the file system itself may want


class SharedTensor:
    """A zero tensor in anonymous shared memory; give it to a child process as an argument, under any start method.

    It is an unlinked memory map that the children inherit by descriptor: nothing is left behind whoever is killed, one
    descriptor serves everything, and it needs no manager process on macOS. Nothing in it is locked.
    """

    def __init__(self, *shape: int, dtype: torch.dtype, context: BaseContext) -> None:
        """OSError if there is no room for it."""
        num_bytes = max(1, math.prod(shape)) * dtype.itemsize
        _require_room(num_bytes)
        self._raw: Any = context.RawArray(ctypes.c_char, num_bytes)
        self._shape = shape
        self._dtype = dtype

    @property
    def tensor(self) -> Tensor:
        """A view of the memory; write it in place."""
        return torch.frombuffer(self._raw, dtype=self._dtype, count=math.prod(self._shape)).view(
            self._shape
        )


def _require_room(num_bytes: int) -> None:
    # Without room the map is made all the same, and the first write to it is a bus error, which nobody can catch.
    folders = [folder for folder in ("/dev/shm", tempfile.gettempdir()) if Path(folder).is_dir()]
    if not any(shutil.disk_usage(folder).free > num_bytes + RESERVE for folder in folders):
        raise OSError(
            f"{num_bytes / 2**20:.0f} MB of shared memory don't fit into {' or '.join(folders)}; "
            "give the container more (docker run --shm-size=1g), or point TMPDIR to a larger folder"
        )
