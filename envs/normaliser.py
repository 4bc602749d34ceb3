"""Running mean and standard deviation over all workers' observations, without a lock."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Without a floor, a feature that has hardly moved so far would become huge once it moves, because
# it is divided by its tiny deviation. With this floor it is scaled by 100 at most, and a feature
# whose true deviation is below the floor stays small, so that its noise is not magnified.
STD_FLOOR = 1e-2


class SharedNormaliser:
    """Mean and standard deviation of K features, from one float64 row a worker.

    A row is (count, mean [K], M2 [K]); M2 is the sum of squared distances from the mean. Each
    worker writes its own row alone, and readers merge all rows. K = 1: all numbers of a batch are
    samples of one statistic (images). K = D: each feature has its own statistic.
    Source: Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise algorithm".
    """

    def __init__(self, rows: Floats) -> None:
        """Use the caller's memory `rows` [num_rows, row_size(K)]; zeros mean no data.

        Raises ValueError for another type or shape.
        """
        is_table = rows.ndim == 2 and rows.dtype == np.float64
        if not is_table or rows.shape[1] < 3 or rows.shape[1] % 2 == 0:
            raise ValueError(
                f"rows must be float64 [num_rows, 1 + 2K], not {rows.dtype} {list(rows.shape)}"
            )
        self._rows = rows
        self._size = (rows.shape[1] - 1) // 2

    @staticmethod
    def row_size(size: int) -> int:
        """Return how many float64 numbers one row has for K = `size`."""
        return 1 + 2 * size

    def update(self, row: int, batch: NDArray[Any]) -> None:
        """Add `batch` to one worker's row, without its non-finite samples.

        `batch` is [N, D] for K = D, and has any shape for K = 1.
        """
        count, mean, m2 = _moments(batch, self._size)
        if count == 0:
            return
        here = self._rows[row]
        old_count = here[0]
        old_mean, old_m2 = here[1 : 1 + self._size], here[1 + self._size :]
        total = old_count + count
        delta = mean - old_mean
        old_m2 += m2 + delta * delta * (old_count * count / total)
        old_mean += delta * (count / total)
        # Written last, so that a reader never takes a half-written first update for data.
        here[0] = total

    def merged(self) -> tuple[float, Floats, Floats]:
        """Return (count, mean [K], standard deviation [K]) of all rows, in the batches' units.

        Before any data they are (0, 0, 1).
        """
        count, mean, m2 = self.state()
        if count < 2:  # one sample has no spread
            return count, mean, np.ones(self._size)
        return count, mean, np.maximum(np.sqrt(m2 / count), STD_FLOOR)

    def state(self) -> tuple[float, Floats, Floats]:
        """Return (count, mean [K], M2 [K]) of all rows, as `load` takes them."""
        rows = self._rows.copy()  # read once: other processes may be writing
        counts = rows[:, :1]
        means, m2s = rows[:, 1 : 1 + self._size], rows[:, 1 + self._size :]
        total = float(counts.sum())
        if total == 0:
            return 0.0, np.zeros(self._size), np.zeros(self._size)
        # A row whose count is 0 may hold half of its first update.
        m2s = np.where(counts > 0, m2s, 0.0)
        mean = (counts * means).sum(axis=0) / total
        return total, mean, (m2s + counts * (means - mean) ** 2).sum(axis=0)

    def load(self, count: float, mean: Floats, m2: Floats) -> None:
        """Put restored statistics into row 0 and clear the others, before the workers start."""
        self._rows[:] = 0.0
        self._rows[0, 1 : 1 + self._size] = mean
        self._rows[0, 1 + self._size :] = m2
        self._rows[0, 0] = count


class RewardScale:
    """Divide rewards by the running standard deviation of their discounted sum.

    Values are then of the order of one. The sum at a step is that of the rewards up to this step:
    sum_t = gamma * sum_{t-1} + reward_t. Source: Engstrom et al. (2020), appendix A.1.
    Each worker has its own object.
    """

    def __init__(self, returns: SharedNormaliser, *, row: int, size: int, gamma: float) -> None:
        """Take statistics `returns` with K = 1, this worker's `row` and number of environments."""
        self._returns = returns
        self._row = row
        self._gamma = gamma
        self._sums = np.zeros(size)

    def update(self, rewards: NDArray[np.float32], *, ended: NDArray[np.bool_]) -> None:
        """Add rewards [T, B] to the statistics; `ended` [T, B] marks the last steps of episodes."""
        sums = np.empty(rewards.shape)
        for t, reward in enumerate(rewards):
            np.add(self._gamma * self._sums, reward, out=sums[t])
            self._sums = np.where(ended[t], 0.0, sums[t])
        self._sums[~np.isfinite(self._sums)] = 0.0
        self._returns.update(self._row, sums)

    def apply(self, rewards: NDArray[np.float32]) -> None:
        """Scale rewards [T, B] in place."""
        _, _, std = self._returns.merged()
        rewards /= std

    def state(self) -> dict[str, Any]:
        """Return the sums of the unfinished episodes."""
        return {"sums": torch.from_numpy(self._sums.copy())}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
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
    # OpenCV sums the bytes without a copy. Both sums are exact: whole numbers below 2^53.
    flat = np.ascontiguousarray(pixels).reshape(1, -1)
    total = cv2.sumElems(flat)[0]
    squares = cv2.norm(flat, cv2.NORM_L2SQR)
    mean = total / count
    # Subtracting whole numbers loses no digits.
    m2 = (int(squares) * count - int(total) ** 2) / count
    return float(count), np.array([mean]), np.array([m2])
