"""metrics.csv and metrics.jsonl: one row of metrics per report."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.records.appender import Appender, Guard
from workers.records.run_folder import RunFolder
from workers.records.statistics import METRICS, STEPS
from workers.records.thinned import Thinned


class MetricsFiles:
    """The writer of both files."""

    def __init__(self, folder: RunFolder, guard: Guard, *, append: bool) -> None:
        """Start the files, or continue them with `append`."""
        header = ",".join(METRICS) + "\n"
        self._path, self._guard = folder.metrics_csv, guard
        self._csv = Appender(folder.metrics_csv, guard, header=header, append=append)
        self._jsonl = Appender(folder.metrics_jsonl, guard, append=append)
        if append:
            self.keep_until(math.inf)  # an older version may have written other columns

    def add(self, values: Mapping[str, float]) -> None:
        """Append a row."""
        self._csv.add(_csv_line(values))
        numbers = {key: _json_number(value) for key, value in values.items()}
        self._jsonl.add((json.dumps(numbers) + "\n").encode())

    def keep_until(self, steps: float) -> None:
        """Delete the rows of later steps."""
        with self._guard(self._path):
            self._csv.flush()
            rows = read_metrics(self._path)
            self._csv.replace([_csv_line(row) for row in rows if row.get(STEPS, math.inf) <= steps])
        self._jsonl.keep(lambda line: _json_steps(line) <= steps)

    def move_to(self, folder: RunFolder) -> None:
        """Go on in another folder."""
        self._path = folder.metrics_csv
        self._csv.move_to(folder.metrics_csv)
        self._jsonl.move_to(folder.metrics_jsonl)

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        self._csv.flush()
        self._jsonl.flush()


def read_metrics(path: Path, *, at_most: int | None = None) -> list[dict[str, float]]:
    """Read metrics.csv without its empty cells; return [] if there is no file.

    `at_most`: only so many evenly spaced rows, and the last one.
    """
    if not path.exists():
        return []
    kept: Thinned[Mapping[str | None, Any]] = Thinned(at_most or sys.maxsize)
    last: Mapping[str | None, Any] = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        for last in csv.DictReader(file):
            kept.add(last)
    rows = kept.items if not kept.items or kept.items[-1] is last else [*kept.items, last]
    return [_numbers(row) for row in rows]


def _csv_line(row: Mapping[str, float]) -> bytes:
    # 12 digits are enough for any step count; floats need no more.
    cells = (f"{row[key]:.12g}" if key in row else "" for key in METRICS)
    return (",".join(cells) + "\n").encode()


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
