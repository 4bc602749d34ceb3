"""Files that grow by whole records, and errors of writing that do not stop the training."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from workers.records.atomic import replacing
from workers.records.faults import reason

_RETRY_SECONDS = 10.0
_BYTES_HELD = 32 * 2**20


class Guard:
    """Turns errors of writing into warnings, one for each file, so that the training goes on."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.warn = warn
        self._warned: set[Path] = set()

    @contextlib.contextmanager
    def __call__(self, path: Path) -> Iterator[None]:
        """Turn the OSError of a block that writes `path` into a warning."""
        try:
            yield
        except OSError as error:
            if path not in self._warned:
                # Before the call: the warning may itself be logged to this file.
                self._warned.add(path)
                self.warn(
                    f"{path} could not be kept up ({reason(error)}); "
                    "training goes on and tries again later."
                )


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
            if not whole:
                self.add(self._header)

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
        self._due = time.monotonic() + _RETRY_SECONDS
        with self._guard(self._path):
            if self._pending:
                _append(self._path, b"".join(self._pending))
            self._pending.clear()
            self._pending_bytes = 0
            self._due = time.monotonic() + self._hold_seconds

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


def _append(path: Path, data: bytes) -> None:
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError:
        # A full disk may take half a line. The retry must not continue in the middle of it.
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise
