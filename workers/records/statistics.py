"""The table of statistics: every number that a run reports, one row each.

To add a metric, add a row to STATISTICS. The columns of the workers' progress table, of
metrics.csv, the fields of status.json and the numbers on the terminal's status line follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workers.records.evaluation import Evaluation

STEPS = "time/total_timesteps"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the main process sees of a run at one moment; the defaults: before the run starts."""

    counters: Mapping[str, int] = field(default_factory=Counter)  # summed over the workers
    # Sums of the progress table divided by contributions, since the last row of metrics.
    means: Mapping[str, float] = field(default_factory=dict)
    policy_lag_max: int = 0  # since the last row of metrics
    steps_by_worker: Sequence[int] = ()
    seconds: float = 0.0
    steps_per_second: float = 0.0
    updates_per_second: float = 0.0
    recent: Sequence[tuple[float, int]] = ()  # (raw return, length) of the last 100 episodes
    evaluation: Evaluation | None = None  # the last one, or the one of the row
    best_eval_return_mean: float | None = None
    workers_alive: int = 0
    restarts: int = 0


@dataclass(frozen=True, kw_only=True)
class Live:
    """How the status line on the terminal shows a number."""

    before: str
    form: str
    gives_way: int  # on a narrow terminal the highest number goes first
    style: str = "bold"
    after: str = ""


@dataclass(frozen=True)
class Statistic:
    """One number of a run: how it is computed, and where it is written."""

    name: str
    value: Callable[[Progress], float | None]  # None: not known
    # Column of metrics.csv, key of metrics.jsonl, tag in TensorBoard, with Stable-Baselines3's
    # name where that has one.
    metric: str | None = None
    of_evaluation: bool = False  # the metric stands only in the evaluation's own row
    in_status: bool = False  # a field of status.json, with the statistic's own name
    status_digits: int | None = None  # after the decimal point, in status.json
    live: Live | None = None
    counters: tuple[str, ...] = ()  # counters of the progress table that it needs
    sums: tuple[str, ...] = ()  # sums over contributions in the progress table that it needs


def _counter_row(name: str, metric: str | None = None) -> Statistic:
    """Return a row for one of the workers' counters."""
    return Statistic(name, lambda run: run.counters[name], metric, in_status=True, counters=(name,))


def _mean_row(name: str, metric: str, *, scale: float = 1.0) -> Statistic:
    """Return a row for the mean over contributions of what workers note under `name`."""
    return Statistic(name, lambda run: scale * run.means[name], metric, sums=(name,))


def _mean_row_unless_zero(name: str, metric: str) -> Statistic:
    """Return such a row for a number that only some algorithms note."""
    return Statistic(name, lambda run: run.means[name] or None, metric, sums=(name,))


def _explained_variance(progress: Progress) -> float | None:
    """1 - mean square error / variance of the returns."""
    means = progress.means
    variance = means["return_square_mean"] - means["return_mean"] ** 2
    square_error = means["square_error"] or means["value_loss"]
    return 1 - square_error / variance if variance > 0 else None


STATISTICS: tuple[Statistic, ...] = (
    Statistic(
        "train_return_mean",
        lambda run: _mean_of([return_ for return_, _ in run.recent]),
        "rollout/ep_rew_mean",
        in_status=True,
        live=Live(before="train ", form="{:.1f}", gives_way=2),
    ),
    Statistic(
        "train_length_mean",
        lambda run: _mean_of([length for _, length in run.recent]),
        "rollout/ep_len_mean",
    ),
    Statistic(
        "steps_per_second",
        lambda run: run.steps_per_second,
        "time/fps",
        in_status=True,
        status_digits=1,
    ),
    _counter_row("steps", STEPS),
    Statistic(
        "seconds",
        lambda run: run.seconds,
        "time/time_elapsed",
        in_status=True,
        status_digits=3,
    ),
    _counter_row("updates", "train/n_updates"),
    _counter_row("episodes"),
    _mean_row("policy_loss", "train/policy_loss"),
    _mean_row("value_loss", "train/value_loss"),
    _mean_row("entropy", "train/entropy_loss", scale=-1.0),
    _mean_row_unless_zero("approx_kl", "train/approx_kl"),  # PPO, and ACKTR with --desired-kl
    _mean_row_unless_zero("clip_fraction", "train/clip_fraction"),  # PPO
    Statistic(
        "explained_variance",
        _explained_variance,
        "train/explained_variance",
        sums=("return_mean", "return_square_mean", "square_error", "value_loss"),
    ),
    _mean_row("grad_norm", "train/grad_norm"),
    _mean_row("learning_rate", "train/learning_rate"),
    _counter_row("failed_inversions", "train/failed_inversions"),
    Statistic(
        "eval_return_mean",
        lambda run: run.evaluation.mean if run.evaluation else None,
        "eval/mean_reward",
        of_evaluation=True,
        in_status=True,
        live=Live(before="eval ", form="{:.1f}", gives_way=4, style="good"),
    ),
    Statistic(
        "eval_length_mean",
        lambda run: run.evaluation.mean_length if run.evaluation else None,
        "eval/mean_ep_length",
        of_evaluation=True,
    ),
    Statistic(
        "eval_steps",
        lambda run: run.evaluation.steps if run.evaluation else None,
        in_status=True,
    ),
    Statistic(
        "best_eval_return_mean",
        lambda run: run.best_eval_return_mean,
        in_status=True,
    ),
    Statistic(
        "policy_lag",
        lambda run: run.means.get("policy_lag_sum"),
        "async/policy_lag_mean",
        live=Live(before="lag ", form="{:.1f}", gives_way=6),
        counters=("policy_lag_sum",),
    ),
    Statistic("policy_lag_max", lambda run: run.policy_lag_max, "async/policy_lag_max"),
    Statistic(
        "updates_per_second",
        lambda run: run.updates_per_second,
        "async/updates_per_sec",
    ),
    _mean_row("pull_seconds", "async/pull_ms", scale=1e3),
    _mean_row("push_seconds", "async/push_ms", scale=1e3),
    _counter_row("dropped_gradients", "async/dropped_nonfinite"),
    Statistic(
        "workers_alive",
        lambda run: run.workers_alive,
        "workers/alive",
        in_status=True,
    ),
    Statistic("restarts", lambda run: run.restarts, "workers/restarts", in_status=True),
    Statistic("steps_min", lambda run: min(run.steps_by_worker), "workers/steps_min"),
    Statistic("steps_max", lambda run: max(run.steps_by_worker), "workers/steps_max"),
    _counter_row("faulty_episodes", "rollout/faulty_episodes"),
)

# The order of status.json's fields, for people who read the file; others follow.
_FIRST_IN_STATUS = (
    "steps",
    "updates",
    "episodes",
    "seconds",
    "steps_per_second",
    "train_return_mean",
    "eval_return_mean",
    "eval_steps",
    "best_eval_return_mean",
    "workers_alive",
    "restarts",
    "dropped_gradients",
    "failed_inversions",
    "faulty_episodes",
)


def metrics_row(progress: Progress) -> dict[str, float | None]:
    """Return one row of metrics, keyed as in METRICS; `progress.means` must be known.

    Numbers of evaluations are left out: they belong to steps that the run made earlier.
    """
    return {
        row.metric: row.value(progress)
        for row in STATISTICS
        if row.metric is not None and not row.of_evaluation
    }


def evaluation_row(evaluation: Evaluation, *, seconds: float, updates: int) -> dict[str, Any]:
    """Return an evaluation's own row of metrics, at the steps of its policy.

    `seconds` and `updates` are those of the run when it had made these steps.
    """
    counters = {"steps": evaluation.steps, "updates": updates}
    progress = Progress(evaluation=evaluation, counters=counters, seconds=seconds)
    return {
        row.metric: row.value(progress)
        for row in STATISTICS
        if row.metric is not None
        and (row.of_evaluation or row.name in ("steps", "seconds", "updates"))
    }


def status_fields(progress: Progress) -> dict[str, float | None]:
    """Return the fields of status.json that are numbers of the run."""
    return {row.name: _rounded(row.value(progress), row.status_digits) for row in _IN_STATUS}


def live_numbers(progress: Progress) -> dict[str, float | None]:
    """Return the numbers that the status line shows beside steps, time and speed."""
    return {row.name: row.value(progress) for row in LIVE}


def _mean_of(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(value: float | None, digits: int | None) -> float | None:
    return value if value is None or digits is None else round(value, digits)


def _place_in_status(row: Statistic) -> int:
    if row.name in _FIRST_IN_STATUS:
        return _FIRST_IN_STATUS.index(row.name)
    return len(_FIRST_IN_STATUS)


METRICS = tuple(row.metric for row in STATISTICS if row.metric is not None)
SUMS = tuple(dict.fromkeys(name for row in STATISTICS for name in row.sums))
COUNTERS = tuple(dict.fromkeys(name for row in STATISTICS for name in row.counters))
LIVE = tuple(row for row in STATISTICS if row.live is not None)
_IN_STATUS = sorted((row for row in STATISTICS if row.in_status), key=_place_in_status)
STATUS: Mapping[str, Any] = {
    "state": "starting",
    **status_fields(Progress()),
    "exit_code": None,
}
