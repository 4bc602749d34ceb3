"""What a run writes while it trains: episodes, metrics, evaluations, status, log.

A file that cannot be written is a warning and stops nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workers.records.appender import Appender, Guard
from workers.records.atomic import write_json_often
from workers.records.board import Board
from workers.records.evaluation import Evaluation, read_evaluations, write_evaluations
from workers.records.metrics import MetricsFiles
from workers.records.run_folder import RunFolder
from workers.records.statistics import STATUS, STEPS, evaluation_row

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
        """Start the records, or continue them with `append`.

        `warn` is called once for every file that cannot be written.
        """
        self.also_metrics: list[Callable[[Mapping[str, float | None]], None]] = []
        self.lost: str | None = None  # why no file can be made in the folder any more
        self._folder = folder
        self._full: RunFolder | None = None  # the folder before this one, if its disk is full
        self.guard = guard = Guard(warn, is_lost=self._is_lost)
        t_start = json.dumps({"t_start": time.time(), "env_id": env_id})
        self._monitor = Appender(
            folder.monitor,
            guard,
            header=f"#{t_start}\nr,l,t\n",
            append=append,
            hold_seconds=_MONITOR_SECONDS,
        )
        self._metrics = MetricsFiles(folder, guard, append=append)
        self._log = Appender(folder.log, guard, append=append)
        self._board = Board(folder.tensorboard, guard) if tensorboard else None
        self._evaluations: list[Evaluation] = []
        self._status = dict(STATUS)
        if append:
            with self.guard(folder.evaluations):
                self._evaluations = read_evaluations(folder.evaluations)

    def episode(self, *, return_: float, length: int, seconds: float) -> None:
        """Write one finished training episode: raw return, length in steps, end in run seconds."""
        self._monitor.add(f"{return_:.6f},{length},{seconds:.6f}\n".encode())

    def metrics(self, row: Mapping[str, float | None]) -> None:
        """Write one row of metrics, keyed as in METRICS; None is left out.

        "time/total_timesteps" must be among them.
        """
        values = {key: float(value) for key, value in row.items() if value is not None}
        self._metrics.add(values)
        if self._board is not None:
            self._board.scalars(values, int(values[STEPS]))
        for also in self.also_metrics:
            also(row)

    def evaluation(self, evaluation: Evaluation, *, seconds: float, updates: int) -> None:
        """Write one evaluation, and its own row of metrics, at the steps of its policy.

        `seconds` and `updates` are those of the run when it had made these steps. Later rows may
        stand above: an evaluation takes its time, and nothing that is written waits for it.
        """
        self._evaluations.append(evaluation)
        self._write_evaluations()
        self.metrics(evaluation_row(evaluation, seconds=seconds, updates=updates))

    @property
    def last_evaluation(self) -> Evaluation | None:
        """The newest evaluation."""
        return self._evaluations[-1] if self._evaluations else None

    def status(self, **fields: Any) -> None:
        """Replace status.json by all fields known so far and those given; NaN becomes null.

        A script can tell from the process, its host and the time whether the run still lives.
        """
        self._status.update(fields)
        now = self._status | _process()
        with self.guard(self._folder.status):
            write_json_often(self._folder.status, now)
        if self._full is not None:
            with contextlib.suppress(OSError):
                write_json_often(self._full.status, now | {"moved_to": str(self._folder.path)})
        self._monitor.flush()

    def log(self, text: str) -> None:
        """Append `text`, of one or more lines, to the log with the time of day."""
        line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.rstrip()}\n"
        self._log.add(line.encode(errors="replace"))

    def truncate_after(self, steps: int, seconds: float | None = None) -> None:
        """Delete what was written after `steps`, and the episodes that ended after `seconds`.

        A resumed run continues from there.
        """
        self._metrics.keep_until(steps)
        if seconds is not None:
            self._monitor.keep(lambda line: _last_cell(line) <= seconds)
        kept = [evaluation for evaluation in self._evaluations if evaluation.steps <= steps]
        if len(kept) < len(self._evaluations):
            self._evaluations = kept
            self._write_evaluations()
        if self._board is not None:
            self._board.purge_after(steps)

    def move_to(self, folder: RunFolder, *, is_own: bool = True) -> None:
        """Go on in another folder, with what can be copied of the old one and what is in memory.

        Nothing is copied unless the old one `is_own`: another run may have begun there.
        """
        for old, new in zip(self._folder.records, folder.records, strict=True):
            with contextlib.suppress(OSError):
                if is_own:
                    shutil.copyfile(old, new)
        self._full = None if self.lost else self._folder
        self._folder, self.lost = folder, None
        self._monitor.move_to(folder.monitor)
        self._metrics.move_to(folder)
        self._log.move_to(folder.log)
        if self._board is not None:
            self._board.move_to(folder.tensorboard)
        self._write_evaluations()
        self.status()

    def look_again(self) -> None:
        """Find out whether files can be made in the folder."""
        self.lost = self._folder.fault()

    def close(self) -> None:
        """Write what is still in memory."""
        self._monitor.flush()
        self._metrics.flush()
        self._log.flush()
        if self._board is not None:
            self._board.flush()

    def _is_lost(self, path: Path) -> bool:
        """Return whether the run's folder is at fault, and not one file of it."""
        if path.is_relative_to(self._folder.path):
            self.look_again()
            return self.lost is not None
        return False

    def _write_evaluations(self) -> None:
        with self.guard(self._folder.evaluations):
            write_evaluations(self._folder.evaluations, self._evaluations)


def _process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "updated": round(time.time(), 3)}


def _last_cell(line: str) -> float:
    try:
        return float(line.rpartition(",")[2])
    except ValueError:
        return math.inf
