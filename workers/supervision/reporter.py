"""The reporter: turns the progress table into metrics, status and lines on the terminal."""

import time
from collections import deque
from typing import Any

import numpy as np

from workers.progress import SUMS, EpisodeReader, ProgressTable

RETURN_WINDOW = 100  # episodes in `train_return_mean`
RATE_WINDOW = 10.0  # seconds over which speeds are averaged


class Reporter:
    """Reads what the workers write; differences between two looks give rates and means."""

    def __init__(
        self, progress: ProgressTable, *, elapsed: float, recent: list[tuple[float, int]]
    ) -> None:
        """`elapsed` seconds and `recent` (return, length) of episodes come from the run that this one goes on with."""
        self._progress = progress
        self._episodes = EpisodeReader(progress)
        self._recent: deque[tuple[float, int]] = deque(recent, maxlen=RETURN_WINDOW)
        self.began = time.monotonic() - elapsed
        self._elapsed, self._start_steps = elapsed, self.steps
        self._ended: float | None = None
        self._rates: deque[tuple[float, int, int]] = deque(
            [(time.monotonic(), self.steps, self.updates)]
        )
        self._row_totals = self._totals()
        self.lag_mean: float | None = None

    @property
    def seconds(self) -> float:
        """Wall clock of the training, that of earlier sittings included; stands still after `end`."""
        return (self._ended or time.monotonic()) - self.began

    def end(self) -> None:
        """Stops the clock: the workers are done."""
        self._ended = time.monotonic()

    @property
    def steps(self) -> int:
        """Environment steps of all workers."""
        return self._progress.total("steps")

    @property
    def updates(self) -> int:
        """Optimizer steps of all workers."""
        return self._progress.total("updates")

    @property
    def recent(self) -> list[tuple[float, int]]:
        """(raw return, length) of the last 100 training episodes."""
        return list(self._recent)

    @property
    def train_return_mean(self) -> float | None:
        """Mean raw return of the last 100 training episodes; None before the first has ended."""
        return float(np.mean([return_ for return_, _ in self._recent])) if self._recent else None

    def solved(self, stop_reward: float | None) -> bool:
        """Whether a full window of training episodes reaches `stop_reward`."""
        mean = self.train_return_mean
        return (
            stop_reward is not None
            and len(self._recent) == RETURN_WINDOW
            and mean is not None
            and mean >= stop_reward
        )

    def new_episodes(self) -> list[tuple[float, int, float]]:
        """(return, length, second of the run at which it ended) of the episodes since the last call."""
        episodes = [
            (return_, length, at - self.began) for return_, length, at in self._episodes.new()
        ]
        self._recent.extend((return_, length) for return_, length, _ in episodes)
        return episodes

    def rates(self) -> tuple[float, float]:
        """Steps and updates per second over the last seconds."""
        now = time.monotonic()
        self._rates.append((now, self.steps, self.updates))
        while self._rates[1][0] < now - RATE_WINDOW:
            self._rates.popleft()
        began, steps, updates = self._rates[0]
        duration = max(now - began, 1e-9)
        return (self.steps - steps) / duration, (self.updates - updates) / duration

    def row(self) -> dict[str, float | None] | None:
        """A row of metrics over the updates since the last row; None if there were none."""
        totals = self._totals()
        change = {name: totals[name] - self._row_totals[name] for name in totals}
        if change["contributions"] <= 0:
            return None
        self._row_totals = totals
        mean = {name: change[name] / change["contributions"] for name in (*SUMS, "policy_lag_sum")}
        self.lag_mean = mean["policy_lag_sum"]
        variance = mean["return_square_mean"] - mean["return_mean"] ** 2
        square_error = mean["square_error"] or mean["value_loss"]
        steps_per_second, updates_per_second = self.rates()
        steps_by_worker = self._progress.column("steps")
        return {
            "rollout/ep_rew_mean": self.train_return_mean,
            "rollout/ep_len_mean": float(np.mean([length for _, length in self._recent]))
            if self._recent
            else None,
            "time/fps": steps_per_second,
            "time/total_timesteps": self.steps,
            "time/time_elapsed": self.seconds,
            "train/n_updates": totals["updates"],
            "train/policy_loss": mean["policy_loss"],
            "train/value_loss": mean["value_loss"],
            "train/entropy_loss": -mean["entropy"],
            "train/explained_variance": 1 - square_error / variance if variance > 0 else None,
            "train/approx_kl": mean["approx_kl"]
            or None,  # PPO tells it, and ACKTR with --desired-kl
            "train/clip_fraction": mean["clip_fraction"] or None,
            "train/grad_norm": mean["grad_norm"],
            "train/learning_rate": mean["learning_rate"],
            "train/failed_inversions": totals["failed_inversions"],
            "async/policy_lag_mean": self.lag_mean,
            "async/policy_lag_max": float(self._progress.next_window()),
            "async/updates_per_sec": updates_per_second,
            "async/pull_ms": 1e3 * mean["pull_seconds"],
            "async/push_ms": 1e3 * mean["push_seconds"],
            "async/dropped_nonfinite": totals["dropped_gradients"],
            "workers/steps_min": float(steps_by_worker.min()),
            "workers/steps_max": float(steps_by_worker.max()),
        }

    def _totals(self) -> dict[str, float]:
        sums = self._progress.sums.sum(axis=0)
        names = (
            "contributions",
            "updates",
            "policy_lag_sum",
            "dropped_gradients",
            "failed_inversions",
        )
        counters = {name: float(self._progress.total(name)) for name in names}
        return counters | dict(zip(SUMS, sums.tolist(), strict=True))

    def status(self) -> dict[str, Any]:
        """The fields of status.json that come from the table; the speed at last is that of the whole sitting."""
        whole = (self.steps - self._start_steps) / max(self.seconds - self._elapsed, 1e-9)
        return {
            "steps": self.steps,
            "updates": self.updates,
            "episodes": self._progress.total("episodes"),
            "seconds": round(self.seconds, 3),
            "steps_per_second": round(whole if self._ended else self.rates()[0], 1),
            "train_return_mean": self.train_return_mean,
            "dropped_gradients": self._progress.total("dropped_gradients"),
            "failed_inversions": self._progress.total("failed_inversions"),
        }
