"""Tensors that several processes write."""

import ctypes
import math
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch import Tensor


class SharedTensor:
    """A zero tensor in anonymous shared memory; give it to a child process as an argument, under any start method.

    It is an unlinked memory map that the children inherit by descriptor: nothing is left behind whoever is killed, one
    descriptor serves everything, and it needs no manager process on macOS. Nothing in it is locked.
    """

    def __init__(self, *shape: int, dtype: torch.dtype, context: BaseContext) -> None:
        self._raw: Any = context.RawArray(ctypes.c_char, max(1, math.prod(shape)) * dtype.itemsize)
        self._shape = shape
        self._dtype = dtype

    @property
    def tensor(self) -> Tensor:
        """A view of the memory; write it in place."""
        return torch.frombuffer(self._raw, dtype=self._dtype, count=math.prod(self._shape)).view(self._shape)
