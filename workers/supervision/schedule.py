"""When something is due that the main process does every now and then."""

import time

from workers.progress import ProgressTable


class Schedule:
    """A thing is due when enough seconds have passed, and enough segments of all workers."""

    def __init__(self, progress: ProgressTable, *, first: dict[str, float]) -> None:
        """`first`: the seconds from now at which each thing is due for the first time."""
        self._progress = progress
        self._began = time.monotonic()
        self._due = dict(first)
        self._segments = dict.fromkeys(first, 0)

    def is_due(self, what: str, *, seconds: float, segments: int = 0) -> bool:
        """Return whether `what` is due; if so, it is not due again for as long.

        As many `segments` must have been played since the last time.
        """
        now, done = time.monotonic() - self._began, self._progress.total("segments")
        if now < self._due[what] or done - self._segments[what] < segments:
            return False
        self._due[what], self._segments[what] = now + seconds, done
        return True
