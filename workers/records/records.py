"""What a run writes down while it trains: episodes, metrics, evaluations, status, log; a failure stops nothing."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.records.board import Board
from workers.records.run_folder import Appender, Guard, RunFolder, replacing, write_json
from workers.records.thinned import Thinned

Evaluation = tuple[int, list[float], list[int]]  # steps, returns, lengths
METRICS = (
    *(
        "rollout/ep_rew_mean",
        "rollout/ep_len_mean",
        "time/fps",
        "time/total_timesteps",
        "time/time_elapsed",
    ),
    *("train/n_updates", "train/policy_loss", "train/value_loss", "train/entropy_loss"),
    *("train/approx_kl", "train/clip_fraction"),
    *(
        "train/explained_variance",
        "train/grad_norm",
        "train/learning_rate",
        "train/failed_inversions",
    ),
    *("eval/mean_reward", "eval/mean_ep_length"),
    *("async/policy_lag_mean", "async/policy_lag_max", "async/updates_per_sec"),
    *("async/pull_ms", "async/push_ms", "async/dropped_nonfinite"),
    *("workers/alive", "workers/restarts", "workers/steps_min", "workers/steps_max"),
)
STATUS: Mapping[str, Any] = {
    "state": "starting",
    "steps": 0,
    "updates": 0,
    "episodes": 0,
    "seconds": 0.0,
    "steps_per_second": 0.0,
    "train_return_mean": None,
    "eval_return_mean": None,
    "eval_steps": None,
    "best_eval_return_mean": None,
    "workers_alive": 0,
    "restarts": 0,
    "dropped_gradients": 0,
    "failed_inversions": 0,
    "exit_code": None,
}
STEPS = "time/total_timesteps"

_MONITOR_SECONDS = 2.0


class Records:
    """The writer of a run folder's records; one per run, in the process that owns the folder."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        env_id: str,
        tensorboard: bool,
        append: bool,
        warn: Callable[[str], None],
    ) -> None:
        """Start the records, or go on with them for `append`; `warn` is told once of every file that fails."""
        self.also_metrics: list[Callable[[Mapping[str, float | None]], None]] = []
        self._folder = folder
        self._guard = guard = Guard(warn)
        t_start = json.dumps({"t_start": time.time(), "env_id": env_id})
        self._monitor = Appender(
            folder.monitor,
            guard,
            header=f"#{t_start}\nr,l,t\n",
            append=append,
            hold_seconds=_MONITOR_SECONDS,
        )
        self._csv = Appender(
            folder.metrics_csv, guard, header=",".join(METRICS) + "\n", append=append
        )
        self._jsonl = Appender(folder.metrics_jsonl, guard, append=append)
        self._log = Appender(folder.log, guard, append=append)
        self._board = Board(folder.tensorboard, guard) if tensorboard else None
        self._evaluations: list[Evaluation] = []
        self._status = dict(STATUS)
        if append:
            with self._guard(folder.evaluations):
                self._evaluations = read_evaluations(folder.evaluations)
            self._keep_metrics(math.inf)  # an older version may have written other columns

    def episode(self, *, return_: float, length: int, seconds: float) -> None:
        """Note one finished training episode: raw return, length in steps, end in seconds since the run started."""
        self._monitor.add(f"{return_:.6f},{length},{seconds:.6f}\n".encode())

    def metrics(self, row: Mapping[str, float | None]) -> None:
        """Note one row of metrics, keyed as in METRICS; "time/total_timesteps" must be among them, None is left out."""
        values = {key: float(value) for key, value in row.items() if value is not None}
        steps = int(values[STEPS])
        self._csv.add(_csv_line(values))
        self._jsonl.add(
            (
                json.dumps({key: _json_number(value) for key, value in values.items()}) + "\n"
            ).encode()
        )
        if self._board is not None:
            self._board.scalars(values, steps)
        for also in self.also_metrics:
            also(row)

    def evaluation(self, *, steps: int, returns: Sequence[float], lengths: Sequence[int]) -> None:
        """Note the raw returns and the lengths in steps of one evaluation of the policy of `steps`."""
        self._evaluations.append((steps, list(returns), list(lengths)))
        self._write_evaluations()

    @property
    def last_evaluation(self) -> Evaluation | None:
        """Steps, returns and lengths of the newest evaluation."""
        return self._evaluations[-1] if self._evaluations else None

    def status(self, **fields: Any) -> None:
        """Replace status.json by all fields known so far and those given; NaN becomes null."""
        self._status.update(fields)
        with self._guard(self._folder.status):
            # Not durable: every few seconds for hours, and a power cut leaves nobody to ask for the status.
            write_json(self._folder.status, self._status, durable=False)
        self._monitor.flush()

    def log(self, text: str) -> None:
        """Append `text`, of one or more lines, to the log with the time of day."""
        self._log.add(
            f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.rstrip()}\n".encode(errors="replace")
        )

    def truncate_after(self, steps: int, seconds: float | None = None) -> None:
        """Forget what was noted after `steps`, and episodes that ended after `seconds`; a run goes on from there."""
        self._keep_metrics(steps)
        if seconds is not None:
            self._monitor.keep(lambda line: _last_cell(line) <= seconds)
        kept = [evaluation for evaluation in self._evaluations if evaluation[0] <= steps]
        if len(kept) < len(self._evaluations):
            self._evaluations = kept
            self._write_evaluations()
        if self._board is not None:
            self._board.purge_after(steps)

    def close(self) -> None:
        """Write what is still held back."""
        for appender in (self._monitor, self._csv, self._jsonl, self._log):
            appender.flush()
        if self._board is not None:
            self._board.flush()

    def _write_evaluations(self) -> None:
        with self._guard(self._folder.evaluations):
            write_evaluations(self._folder.evaluations, self._evaluations)

    def _keep_metrics(self, steps: float) -> None:
        with self._guard(self._folder.metrics_csv):
            self._csv.flush()
            rows = read_metrics(self._folder.metrics_csv)
            self._csv.replace([_csv_line(row) for row in rows if row.get(STEPS, math.inf) <= steps])
        self._jsonl.keep(lambda line: _json_steps(line) <= steps)


def read_metrics(path: Path, *, at_most: int | None = None) -> list[dict[str, float]]:
    """Read metrics.csv without its empty cells, or `at_most` evenly spaced rows of it and the last; [] if there is no file."""
    if not path.exists():
        return []
    kept: Thinned[Mapping[str | None, Any]] = Thinned(at_most or sys.maxsize)
    last: Mapping[str | None, Any] = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        for last in csv.DictReader(file):
            kept.add(last)
    rows = kept.items if not kept.items or kept.items[-1] is last else [*kept.items, last]
    return [_numbers(row) for row in rows]


def read_evaluations(path: Path) -> list[Evaluation]:
    """Read the evaluations of evaluations.npz; none if there is no file; OSError, also where it is damaged."""
    if not path.exists():
        return []
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            rows = zip(file["timesteps"], file["results"], file["ep_lengths"], strict=True)
            return [_unpadded(int(steps), returns, lengths) for steps, returns, lengths in rows]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise OSError(f"{path.name} is damaged") from error


def write_evaluations(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Replace evaluations.npz: timesteps [K], results [K, N], ep_lengths [K, N], short rows padded by NaN; OSError."""
    shape = (len(evaluations), max((len(returns) for _, returns, _ in evaluations), default=0))
    results, ep_lengths = np.full(shape, np.nan), np.full(shape, np.nan)
    for index, (_, returns, lengths) in enumerate(evaluations):
        results[index, : len(returns)] = returns
        ep_lengths[index, : len(lengths)] = lengths
    timesteps = np.array([steps for steps, _, _ in evaluations], dtype=np.int64)
    whole = not np.isnan(ep_lengths).any()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        timesteps=timesteps,
        results=results,
        ep_lengths=ep_lengths.astype(np.int64) if whole else ep_lengths,
    )
    with replacing(path) as file:
        file.write(buffer.getbuffer())


def _csv_line(row: Mapping[str, float]) -> bytes:
    # 12 digits hold any step count; floats need no more.
    return (",".join(f"{row[key]:.12g}" if key in row else "" for key in METRICS) + "\n").encode()


def _json_number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else value


def _json_steps(line: str) -> float:
    try:
        return float(json.loads(line)[STEPS])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _numbers(row: Mapping[str | None, Any]) -> dict[str, float]:
    numbers = {}
    for key, text in row.items():
        with contextlib.suppress(ValueError, TypeError):
            numbers[str(key)] = float(text)
    return numbers


def _last_cell(line: str) -> float:
    try:
        return float(line.rpartition(",")[2])
    except ValueError:
        return math.inf


def _unpadded(steps: int, returns: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> Evaluation:
    played = ~np.isnan(lengths)
    return steps, returns[played].tolist(), lengths[played].astype(int).tolist()
