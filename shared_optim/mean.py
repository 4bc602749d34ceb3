"""The mean of what W workers contribute, summed in the order of their numbers."""

import math
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch import Tensor

from shared_optim.flat import square
from shared_optim.memory import SharedTensor

MOST_NUMBERS = 4  # that `write_numbers` takes at a time


@dataclass(frozen=True, kw_only=True)
class MeanMemory:
    """A gradient and a few numbers of each of W workers; each worker writes its own row."""

    gradients: SharedTensor  # [W, P] float32
    mean: SharedTensor  # [P] float32; each worker writes its slice
    numbers: SharedTensor  # [2, W, MOST_NUMBERS] float64
    squares: SharedTensor  # [W] float64, squared length of each worker's slice of the mean

    @classmethod
    def create(cls, num_workers: int, num_parameters: int, *, context: BaseContext) -> "MeanMemory":
        """Allocate zeros. OSError if there is no room for them."""
        W, P = num_workers, num_parameters
        return cls(
            gradients=SharedTensor(W, P, dtype=torch.float32, context=context),
            mean=SharedTensor(P, dtype=torch.float32, context=context),
            numbers=SharedTensor(2, W, MOST_NUMBERS, dtype=torch.float64, context=context),
            squares=SharedTensor(W, dtype=torch.float64, context=context),
        )


class Mean:
    """One worker's access to the mean gradient and to means of a few numbers.

    All workers must meet between `write` and `average_slice`, and again before `gradient` or
    `norm` is read. They must also meet between `write_numbers` and `numbers`.
    """

    def __init__(self, memory: MeanMemory, *, worker: int) -> None:
        # NumPy's calls take a third of the time of PyTorch's. In a small network these calls are
        # nearly all of a push.
        self._worker = worker
        self.gradient = memory.mean.tensor  # [P]
        self._rows, self._mean = memory.gradients.tensor.numpy(), self.gradient.numpy()
        self._clipped = memory.gradients.tensor[0]
        self._numbers, self._squares = memory.numbers.tensor, memory.squares.tensor.numpy()
        W, P = self._rows.shape
        own = slice(P * worker // W, P * (worker + 1) // W)
        self._own_rows, self._own_mean = self._rows[:, own], self._mean[own]

    def write(self, gradient: Tensor) -> None:
        """Write this worker's gradient [P]."""
        np.copyto(self._rows[self._worker], gradient.numpy())

    def average_slice(self) -> None:
        """Average this worker's slice of all gradients."""
        mean = self._own_mean
        with np.errstate(all="ignore"):  # a gradient that is not finite shows in the norm
            np.add.reduce(self._own_rows, axis=0, out=mean)
            np.divide(mean, len(self._own_rows), out=mean)
        self._squares[self._worker] = square(mean)

    @property
    def norm(self) -> float:
        """The length of the mean gradient."""
        return math.sqrt(self._squares.sum())

    def no_longer_than(self, max_norm: float, *, norm: float) -> Tensor:
        """Return the mean gradient [P] of length `norm`, scaled down to `max_norm` if longer.

        Only for worker 0. A scaled gradient overwrites worker 0's own gradient, which is no longer
        needed. The mean itself stays as it was, for a replacement that makes the step again.
        """
        if norm <= max_norm:
            return self.gradient
        np.multiply(self._mean, max_norm / norm, out=self._rows[0])
        return self._clipped

    def write_numbers(self, values: Tensor, *, turn: int) -> None:
        """Write this worker's numbers [K]; `turn` alternates between 0 and 1.

        A worker that is one meeting ahead writes to the other turn while others still read this
        one. It cannot be two meetings ahead.
        """
        self._numbers[turn, self._worker, : len(values)].copy_(values)

    def numbers(self, count: int, *, turn: int) -> Tensor:
        """Return the means [K] of what all workers wrote, float64."""
        return self._numbers[turn, :, :count].mean(0)
