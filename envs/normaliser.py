"""Running mean and standard deviation of what all workers observe, without a lock."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A feature that has hardly moved would be blown up by its tiny deviation when it moves at last. At this floor such a
# feature is merely scaled by 100, and one whose true deviation is smaller stays small instead of being all noise.
STD_FLOOR = 1e-2


class SharedNormaliser:
    """Rows of (count, mean[K], M2[K]), float64, one per worker and written by it alone; readers merge all rows.

    K = 1: all numbers of a batch are samples of one statistic (images). K = D: each feature has its own.
    Updates and merges follow Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm".
    """

    def __init__(self, rows: Floats) -> None:
        """`rows` [num_rows, row_size(K)] stays the caller's memory, zeros for no data. Raises ValueError."""
        if (
            rows.ndim != 2
            or rows.dtype != np.float64
            or rows.shape[1] < 3
            or rows.shape[1] % 2 == 0
        ):
            raise ValueError(
                f"rows must be float64 [num_rows, 1 + 2K], not {rows.dtype} {list(rows.shape)}"
            )
        self._rows = rows
        self._size = (rows.shape[1] - 1) // 2

    @staticmethod
    def row_size(size: int) -> int:
        """Float64 numbers in one row for K = `size`."""
        return 1 + 2 * size

    def update(self, row: int, batch: NDArray[Any]) -> None:
        """Add `batch` ([N, D] for K = D, anything for K = 1) to one worker's row, without non-finite samples."""
        count, mean, m2 = _moments(batch, self._size)
        if count == 0:
            return
        here = self._rows[row]
        old_count, old_mean, old_m2 = here[0], here[1 : 1 + self._size], here[1 + self._size :]
        total = old_count + count
        delta = mean - old_mean
        old_m2 += m2 + delta * delta * (old_count * count / total)
        old_mean += delta * (count / total)
        here[0] = total  # last, so that a reader never takes a first, half-written row for data

    def merged(self) -> tuple[float, Floats, Floats]:
        """(count, mean [K], standard deviation [K]) of all rows, in the batches' units; (0, 0, 1) before any data."""
        count, mean, m2 = self.state()
        if count < 2:  # one sample says nothing about how far samples lie apart
            return count, mean, np.ones(self._size)
        return count, mean, np.maximum(np.sqrt(m2 / count), STD_FLOOR)

    def state(self) -> tuple[float, Floats, Floats]:
        """(count, mean [K], M2 [K]) of all rows, as `load` takes them."""
        rows = self._rows.copy()  # one look at what others are writing
        counts, means, m2s = rows[:, :1], rows[:, 1 : 1 + self._size], rows[:, 1 + self._size :]
        total = float(counts.sum())
        if total == 0:
            return 0.0, np.zeros(self._size), np.zeros(self._size)
        # A row without a count may be in the middle of its first write.
        m2s = np.where(counts > 0, m2s, 0.0)
        mean = (counts * means).sum(axis=0) / total
        return total, mean, (m2s + counts * (means - mean) ** 2).sum(axis=0)

    def load(self, count: float, mean: Floats, m2: Floats) -> None:
        """Put restored statistics into row 0 and empty the others; for before the workers start."""
        self._rows[:] = 0.0
        self._rows[0, 1 : 1 + self._size] = mean
        self._rows[0, 1 + self._size :] = m2
        self._rows[0, 0] = count


class RewardScale:
    """Divides rewards by the running standard deviation of their discounted sum, so that values are of the order of one.

    The sum is that of what was earned up to a step, as in Engstrom et al. 2020, appendix A.1. One object a worker.
    """

    def __init__(self, returns: SharedNormaliser, *, row: int, size: int, gamma: float) -> None:
        """`returns` has K = 1; `row` is the worker's, `size` the number of its environments."""
        self._returns, self._row, self._gamma = returns, row, gamma
        self._sums = np.zeros(size)

    def update(self, rewards: NDArray[np.float32], *, ended: NDArray[np.bool_]) -> None:
        """Adds rewards [T, B] to the statistics; `ended` [T, B] says after which steps an episode was over."""
        sums = np.empty(rewards.shape)
        for t, reward in enumerate(rewards):
            np.add(self._gamma * self._sums, reward, out=sums[t])
            self._sums = np.where(ended[t], 0.0, sums[t])
        self._sums[~np.isfinite(self._sums)] = 0.0
        self._returns.update(self._row, sums)

    def apply(self, rewards: NDArray[np.float32]) -> None:
        """Scales rewards [T, B] in place."""
        _, _, std = self._returns.merged()
        rewards /= std

    def state(self) -> dict[str, Any]:
        """The sums of the episodes that go on."""
        return {"sums": torch.from_numpy(self._sums.copy())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self._sums = state["sums"].numpy()


def _moments(batch: NDArray[Any], size: int) -> tuple[float, Floats, Floats]:
    if batch.dtype == np.uint8 and size == 1:
        return _pixel_moments(batch)
    samples = np.asarray(batch, np.float64).reshape(-1, size)
    finite = np.isfinite(samples).all(axis=1)
    if not finite.all():
        samples = samples[finite]
    if len(samples) == 0:
        return 0.0, np.zeros(size), np.zeros(size)
    mean = samples.mean(axis=0)
    return float(len(samples)), mean, ((samples - mean) ** 2).sum(axis=0)


def _pixel_moments(pixels: NDArray[np.uint8]) -> tuple[float, Floats, Floats]:
    count = pixels.size
    if count == 0:
        return 0.0, np.zeros(1), np.zeros(1)
    # Both sums are whole numbers below 2^53, hence exact, and OpenCV takes them straight from the bytes.
    flat = np.ascontiguousarray(pixels).reshape(1, -1)
    total = cv2.sumElems(flat)[0]
    squares = cv2.norm(flat, cv2.NORM_L2SQR)
    mean = total / count
    m2 = (int(squares) * count - int(total) ** 2) / count  # in whole numbers: no cancellation
    return float(count), np.array([mean]), np.array([m2])
