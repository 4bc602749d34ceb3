"""The reporter: what the progress table says about the run, as numbers for the statistics."""

import time
from collections import deque

import numpy as np

from workers.progress import COUNTERS, SUMS, EpisodeReader, ProgressTable
from workers.records.statistics import Progress

RETURN_WINDOW = 100  # episodes in `train_return_mean`
RATE_WINDOW = 10.0  # seconds over which speeds are averaged


class Reporter:
    """Reads what the workers write; differences between two moments give speeds and means."""

    def __init__(
        self, table: ProgressTable, *, elapsed: float, recent: list[tuple[float, int]]
    ) -> None:
        """A resumed run passes its `elapsed` seconds and its `recent` (return, length)."""
        self._table = table
        self._episodes = EpisodeReader(table)
        self._recent: deque[tuple[float, int]] = deque(recent, maxlen=RETURN_WINDOW)
        self.began = time.monotonic() - elapsed
        self._elapsed, self._start_steps = elapsed, self.steps
        self._ended: float | None = None
        self._rates: deque[tuple[float, int, int]] = deque(
            [(time.monotonic(), self.steps, self.updates)]
        )
        self._totals_of_last_row = self._totals()
        self._means: dict[str, float] = {}
        self._policy_lag_max = 0

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the training, with earlier sittings; constant after `end`."""
        return (self._ended or time.monotonic()) - self.began

    def end(self) -> None:
        """Stop the clock: the workers are done."""
        self._ended = time.monotonic()

    @property
    def steps(self) -> int:
        """Environment steps of all workers."""
        return self._table.total("steps")

    @property
    def updates(self) -> int:
        """Optimizer steps of all workers."""
        return self._table.total("updates")

    @property
    def recent(self) -> list[tuple[float, int]]:
        """(raw return, length) of the last 100 training episodes."""
        return list(self._recent)

    @property
    def train_return_mean(self) -> float | None:
        """Mean raw return of the last 100 training episodes; None before the first has ended."""
        return float(np.mean([return_ for return_, _ in self._recent])) if self._recent else None

    def solved(self, stop_reward: float | None) -> bool:
        """Return whether the mean of 100 training episodes reaches `stop_reward`."""
        mean = self.train_return_mean
        if stop_reward is None or mean is None or len(self._recent) < RETURN_WINDOW:
            return False
        return mean >= stop_reward

    def new_episodes(self) -> list[tuple[float, int, float]]:
        """Return (return, length, second of the run at its end) of each episode since last time."""
        episodes = [
            (return_, length, at - self.began) for return_, length, at in self._episodes.new()
        ]
        self._recent.extend((return_, length) for return_, length, _ in episodes)
        return episodes

    def progress(self) -> Progress:
        """Return the run as it is now; the means are those of the last row of metrics."""
        steps_per_second, updates_per_second = self._speeds()
        return Progress(
            counters={name: self._table.total(name) for name in COUNTERS},
            means=self._means,
            policy_lag_max=self._policy_lag_max,
            steps_by_worker=self._table.column("steps").tolist(),
            seconds=self.seconds,
            steps_per_second=steps_per_second,
            updates_per_second=updates_per_second,
            recent=self.recent,
        )

    def progress_for_row(self) -> Progress | None:
        """Return the run now, with means since the last row; None if there were no updates."""
        totals = self._totals()
        change = {name: totals[name] - self._totals_of_last_row[name] for name in totals}
        contributions = change.pop("contributions")
        if contributions <= 0:
            return None
        self._totals_of_last_row = totals
        self._means = {name: value / contributions for name, value in change.items()}
        self._policy_lag_max = self._table.next_window()
        return self.progress()

    @property
    def steps_per_second_at_last(self) -> float | None:
        """Speed of the whole sitting; None before `end`."""
        if self._ended is None:
            return None
        return (self.steps - self._start_steps) / max(self.seconds - self._elapsed, 1e-9)

    def _speeds(self) -> tuple[float, float]:
        """Return steps and updates per second over the last seconds."""
        now = time.monotonic()
        self._rates.append((now, self.steps, self.updates))
        while self._rates[1][0] < now - RATE_WINDOW:
            self._rates.popleft()
        began, steps, updates = self._rates[0]
        duration = max(now - began, 1e-9)
        return (self.steps - steps) / duration, (self.updates - updates) / duration

    def _totals(self) -> dict[str, float]:
        sums = self._table.sums.sum(axis=0).tolist()
        counters = {
            name: float(self._table.total(name)) for name in ("contributions", "policy_lag_sum")
        }
        return counters | dict(zip(SUMS, sums, strict=True))
