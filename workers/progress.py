"""The progress table: what workers note in shared memory, one row per worker.

Each row has one writer, so there are no locks. Readers add the rows up.
"""

from functools import cached_property
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shared_optim.memory import SharedTensor
from workers.records.statistics import COUNTERS as COUNTERS_OF_STATISTICS
from workers.records.statistics import SUMS as SUMS

# Checkpoints hold the counters in this order, so that new ones must be appended.
# Those that a new row of the table of statistics needs are.
COUNTERS = tuple(
    dict.fromkeys(
        (
            "steps",
            "contributions",
            "updates",
            "episodes",
            "segments",
            "dropped_gradients",
            "heartbeat",
            "policy_lag_sum",
            "policy_lag_max",
            "policy_lag_window",
            "failed_inversions",
            *COUNTERS_OF_STATISTICS,
        )
    )
)
# The counters whose totals a resumed run continues with, even with other workers.
CARRIED_COUNTERS = tuple(
    name for name in COUNTERS if name != "heartbeat" and not name.startswith("policy_lag")
)
CONTROL = ("stop", "window", "tester_heartbeat", "reports_wanted")
EPISODES_KEPT = 1024  # more than can end between two looks at the table


class ProgressTable:
    """Counters [N, C] int64, sums [N, S] float64 and the last episodes [N, K, 3] of N workers.

    Each number has 8 bytes and is written at once. A reader may see one counter a step older than
    another one, but never half a number.
    """

    def __init__(self, num_workers: int, *, context: BaseContext) -> None:
        self.num_workers = num_workers
        self._counters = SharedTensor(
            num_workers, len(COUNTERS), dtype=torch.int64, context=context
        )
        self._sums = SharedTensor(num_workers, len(SUMS), dtype=torch.float64, context=context)
        self._episodes = SharedTensor(
            num_workers, EPISODES_KEPT, 3, dtype=torch.float64, context=context
        )
        self._control = SharedTensor(len(CONTROL), dtype=torch.int64, context=context)
        self._finished = SharedTensor(num_workers, dtype=torch.int64, context=context)

    def __getstate__(self) -> dict[str, Any]:
        cached = ("counters", "sums", "episodes", "control", "finished")
        return {name: value for name, value in vars(self).items() if name not in cached}

    @cached_property
    def counters(self) -> NDArray[np.int64]:
        """[N, C], columns as in COUNTERS."""
        return self._counters.tensor.numpy()

    @cached_property
    def sums(self) -> NDArray[np.float64]:
        """[N, S], columns as in SUMS: what contributions were made of, summed over contributions.

        For a mean, divide a difference by the difference of the counter `contributions`.
        """
        return self._sums.tensor.numpy()

    @cached_property
    def episodes(self) -> NDArray[np.float64]:
        """[N, K, 3]: (return, length, monotonic seconds) of episode n at n modulo K."""
        return self._episodes.tensor.numpy()

    @cached_property
    def control(self) -> NDArray[np.int64]:
        """Cells as in CONTROL, each with one writer."""
        return self._control.tensor.numpy()

    @cached_property
    def finished(self) -> NDArray[np.int64]:
        """[N]: 1 for each worker that has seen the end of the run."""
        return self._finished.tensor.numpy()

    def column(self, name: str) -> NDArray[np.int64]:
        """Return one counter of all workers [N], as a view."""
        return self.counters[:, COUNTERS.index(name)]

    def total(self, name: str) -> int:
        """Return one counter, summed over the workers."""
        return int(self.column(name).sum())

    def stop(self) -> None:
        """Ask the workers to end after their current segments."""
        self.control[CONTROL.index("stop")] = 1

    @property
    def stopping(self) -> bool:
        """Whether `stop` has been called."""
        return bool(self.control[CONTROL.index("stop")])

    def ask_for_reports(self) -> None:
        """Ask workers at a barrier for what an exact resume needs."""
        self.control[CONTROL.index("reports_wanted")] += 1

    @property
    def reports_wanted(self) -> int:
        """How often `ask_for_reports` has been called."""
        return int(self.control[CONTROL.index("reports_wanted")])

    @property
    def window(self) -> int:
        """Number of the current window of time; workers keep the largest policy lag of each."""
        return int(self.control[CONTROL.index("window")])

    def next_window(self) -> int:
        """End the window; return its largest policy lag, 0 if no worker made an update in it."""
        lags = self.column("policy_lag_max")[self.column("policy_lag_window") == self.window]
        self.control[CONTROL.index("window")] += 1
        return int(lags.max(initial=0))

    @property
    def tester_heartbeat(self) -> int:
        """Monotonic ns of the test worker's last sign of life.

        It lies in the future where the test worker may be silent until then.
        """
        return int(self.control[CONTROL.index("tester_heartbeat")])

    @tester_heartbeat.setter
    def tester_heartbeat(self, monotonic_ns: int) -> None:
        self.control[CONTROL.index("tester_heartbeat")] = monotonic_ns


class EpisodeReader:
    """Collects the episodes that have ended since the last call."""

    def __init__(self, table: ProgressTable) -> None:
        self._table = table
        self._seen = table.column("episodes").copy()

    def new(self) -> list[tuple[float, int, float]]:
        """Return (return, length, monotonic seconds) of each, in the order of their ends."""
        result = []
        for worker, now in enumerate(self._table.column("episodes").copy()):
            for n in range(max(self._seen[worker], now - EPISODES_KEPT), now):
                return_, length, seconds = self._table.episodes[worker, n % EPISODES_KEPT].tolist()
                result.append((return_, int(length), seconds))
            self._seen[worker] = now
        return sorted(result, key=lambda episode: episode[2])


class WorkerRow:
    """The only writer of a worker's row. The worker's replacement continues the row."""

    def __init__(self, table: ProgressTable, worker: int) -> None:
        self._table = table
        self._counters = table.counters[worker]
        self._sums = table.sums[worker]
        self._episodes = table.episodes[worker]
        self._finished = table.finished[worker : worker + 1]

    def beat(self, monotonic_ns: int) -> None:
        """Note the time of the worker's last sign of life."""
        self._counters[COUNTERS.index("heartbeat")] = monotonic_ns

    def finish(self) -> None:
        """Note that the worker has seen the end of the run. An exit code of 0 says less."""
        self._finished[...] = 1

    def add(self, name: str, amount: int) -> None:
        """Increase a counter."""
        self._counters[COUNTERS.index(name)] += amount

    def contribution(self, statistics: dict[str, float], *, policy_lag: int, updates: int) -> None:
        """Count a contribution, and add its statistics to the sums.

        `updates` is 0 where another worker counts the optimizer's step.
        """
        for name, value in statistics.items():
            self._sums[SUMS.index(name)] += value
        self.add("policy_lag_sum", policy_lag)
        worst, window = COUNTERS.index("policy_lag_max"), COUNTERS.index("policy_lag_window")
        if self._counters[window] != self._table.window:
            self._counters[window], self._counters[worst] = self._table.window, 0
        self._counters[worst] = max(self._counters[worst], policy_lag)
        self.add("contributions", 1)
        self.add("updates", updates)

    def episode(self, *, return_: float, length: int, seconds: float) -> None:
        """Note an ended episode.

        The count is increased last, so that a reader never sees a half-written episode.
        """
        n = int(self._counters[COUNTERS.index("episodes")])
        self._episodes[n % EPISODES_KEPT] = (return_, length, seconds)
        self.add("episodes", 1)
