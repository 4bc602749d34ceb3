"""Files that grow by whole records, and errors of writing that do not stop the training."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from workers.records.atomic import replacing
from workers.records.faults import fix, reason

_RETRY_SECONDS = 10.0
_QUIET_SECONDS = 600.0
_BYTES_HELD = 32 * 2**20


class Guard:
    """Turns errors of writing into warnings, so that the training goes on.

    A file's fault is told once, again when its reason changes, and once more when it is over. No
    line is repeated within ten minutes, however often a file comes and goes.
    """

    def __init__(
        self, warn: Callable[[str], None], *, is_lost: Callable[[Path], bool] = lambda path: False
    ) -> None:
        """Give each line to `warn`, unless `is_lost` says that somebody else tells of that file."""
        self.warn, self._is_lost = warn, is_lost
        self._last: dict[Path, str] = {}
        self._told: dict[tuple[Path, str], float] = {}

    @contextlib.contextmanager
    def __call__(self, path: Path) -> Iterator[None]:
        """Turn the OSError of a block that writes `path` into a warning."""
        try:
            yield
        except OSError as error:
            self.failed(path, error)
        else:
            self.worked(path)

    def failed(self, path: Path, error: OSError, *, advice: str = "") -> None:
        """Warn that `path` could not be written; `advice` is added to the fix."""
        advice = f"{fix(error)}{advice}, " if error.errno else ""
        if not self._is_lost(path):
            self.tell(
                path,
                f"{path} could not be kept up ({reason(error)}); {advice}"
                "training goes on and tries again later.",
            )

    def worked(self, path: Path) -> None:
        """Say that `path` is written again, if it could not be the last time."""
        if path in self._last:
            self.tell(path, f"{path} is kept up again.")

    def tell(self, path: Path, line: str) -> None:
        """Give a line about `path` to `warn`, unless it is the last one or was told just now."""
        told = self._told.get((path, line), -math.inf)
        if line != self._last.get(path) and time.monotonic() - told > _QUIET_SECONDS:
            # Before the call: the warning may itself be logged to this file.
            self._last[path], self._told[path, line] = line, time.monotonic()
            self.warn(line)


class Appender:
    """Appends whole records to one file, and keeps in memory those that cannot be written yet."""

    def __init__(
        self,
        path: Path,
        guard: Guard,
        *,
        header: str = "",
        append: bool,
        hold_seconds: float = 0.0,
    ) -> None:
        """Start the file, or continue it with `append`.

        Records may stay in memory for `hold_seconds`.
        """
        self._path, self._guard = path, guard
        self._header, self._hold_seconds = header.encode(), hold_seconds
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._due = 0.0
        with guard(path):
            if not append:
                path.unlink(missing_ok=True)
            data = path.read_bytes() if path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(path, whole)  # the incomplete last line of a killed run
        self.flush()

    def add(self, record: bytes) -> None:
        """Append a record, now or later; drop the oldest if more than 32 MiB are waiting."""
        self._pending.append(record)
        self._pending_bytes += len(record)
        while self._pending_bytes > _BYTES_HELD:
            self._pending_bytes -= len(self._pending.popleft())
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write the records that are still in memory."""
        if not self._pending and os.path.exists(self._path):
            return
        self._due = time.monotonic() + _RETRY_SECONDS
        with self._guard(self._path):
            _append(self._path, b"".join(self._pending), header=self._header)
            self._pending.clear()
            self._pending_bytes = 0
            self._due = time.monotonic() + self._hold_seconds

    def move_to(self, path: Path) -> None:
        """Go on in another file, with what is still in memory."""
        self._path = path
        self.flush()

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Delete the lines below the header for which `wanted` is false."""
        self.flush()
        with self._guard(self._path):
            lines = self._path.read_bytes().splitlines(keepends=True)
            top = self._header.count(b"\n")
            rows = [line for line in lines[top:] if wanted(line.decode(errors="replace"))]
            self._replace(lines[:top] + rows)

    def replace(self, rows: Sequence[bytes]) -> None:
        """Replace the file by the header and these rows."""
        self.flush()
        with self._guard(self._path):
            self._replace([self._header, *rows])

    def _replace(self, lines: Sequence[bytes]) -> None:
        with replacing(self._path) as file:
            file.write(b"".join(lines))


def _append(path: Path, data: bytes, *, header: bytes) -> None:
    """Append to a file; one that is empty, or was deleted, begins with the header."""
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data if size else header + data)
    except OSError:
        # A full disk may take half a line. The retry must not continue in the middle of it.
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise
