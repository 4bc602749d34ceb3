"""What workers tell: one row a worker in shared memory, one writer a row, no lock; readers sum."""

from functools import cached_property
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared_optim.memory import SharedTensor

COUNTERS = ("steps", "updates", "episodes", "segments", "dropped_gradients", "policy_lag_sum", "policy_lag_max", "heartbeat")
SUMS = ("policy_loss", "value_loss", "entropy", "return_mean", "return_square_mean", "grad_norm", "learning_rate")
EPISODES_KEPT = 1024  # more than can end between two looks at the table


class ProgressTable:
    """Counters [N, C] int64, sums over updates [N, S] float64 and the last episodes [N, K, 3] of N workers.

    A number is 8 bytes, written at once. A reader may see a counter a step older than its neighbour, never half a number.
    """

    def __init__(self, num_workers: int, *, context: BaseContext) -> None:
        self.num_workers = num_workers
        self._counters = SharedTensor(num_workers, len(COUNTERS), dtype=torch.int64, context=context)
        self._sums = SharedTensor(num_workers, len(SUMS), dtype=torch.float64, context=context)
        self._episodes = SharedTensor(num_workers, EPISODES_KEPT, 3, dtype=torch.float64, context=context)
        self._stop = SharedTensor(1, dtype=torch.int64, context=context)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("counters", "sums", "episodes", "stop_flag")}

    @cached_property
    def counters(self) -> NDArray[np.int64]:
        """[N, C], columns as in COUNTERS."""
        return self._counters.tensor.numpy()

    @cached_property
    def sums(self) -> NDArray[np.float64]:
        """[N, S], columns as in SUMS; divide differences by differences of `updates`."""
        return self._sums.tensor.numpy()

    @cached_property
    def episodes(self) -> NDArray[np.float64]:
        """[N, K, 3]: (return, length, monotonic seconds) of episode n at n modulo K."""
        return self._episodes.tensor.numpy()

    @cached_property
    def stop_flag(self) -> NDArray[np.int64]:
        """[1]: not 0 when the workers are to end."""
        return self._stop.tensor.numpy()

    def column(self, name: str) -> NDArray[np.int64]:
        """One counter of all workers [N], as a view."""
        return self.counters[:, COUNTERS.index(name)]

    def total(self, name: str) -> int:
        """One counter summed over the workers."""
        return int(self.column(name).sum())

    def stop(self) -> None:
        """Tells the workers to end after the segment they are in."""
        self.stop_flag[0] = 1

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return bool(self.stop_flag[0])


class EpisodeReader:
    """Collects, for one reader, the episodes that have ended since it last looked."""

    def __init__(self, table: ProgressTable) -> None:
        self._table = table
        self._seen = table.column("episodes").copy()

    def new(self) -> list[tuple[float, int, float]]:
        """(return, length, monotonic seconds) of each, in the order in which they ended."""
        result = []
        for worker, now in enumerate(self._table.column("episodes").copy()):
            for n in range(max(self._seen[worker], now - EPISODES_KEPT), now):
                return_, length, seconds = self._table.episodes[worker, n % EPISODES_KEPT].tolist()
                result.append((return_, int(length), seconds))
            self._seen[worker] = now
        return sorted(result, key=lambda episode: episode[2])


class WorkerRow:
    """The one writer of a worker's row; a replacement goes on where its predecessor stopped."""

    def __init__(self, table: ProgressTable, worker: int) -> None:
        self._counters, self._sums, self._episodes = table.counters[worker], table.sums[worker], table.episodes[worker]

    def beat(self, monotonic_ns: int) -> None:
        """Says that the worker lives."""
        self._counters[COUNTERS.index("heartbeat")] = monotonic_ns

    def add(self, name: str, amount: int) -> None:
        """Raises a counter."""
        self._counters[COUNTERS.index(name)] += amount

    def update(self, statistics: dict[str, float], *, policy_lag: int) -> None:
        """Counts an update, with what it was made of."""
        for name, value in statistics.items():
            self._sums[SUMS.index(name)] += value
        self.add("policy_lag_sum", policy_lag)
        worst = COUNTERS.index("policy_lag_max")
        self._counters[worst] = max(self._counters[worst], policy_lag)
        self.add("updates", 1)

    def episode(self, *, return_: float, length: int, seconds: float) -> None:
        """Files an ended episode; the count is raised last, so that a reader never meets a half-written one."""
        n = int(self._counters[COUNTERS.index("episodes")])
        self._episodes[n % EPISODES_KEPT] = (return_, length, seconds)
        self.add("episodes", 1)
