"""Whether replacing a worker helps, or the same failure comes again and again."""

from workers.progress import ProgressTable
from workers.supervision.causes import Cause


class Repeats:
    """Counts failures of the same kind in a row, between which the run got nowhere.

    An environment that crashes now and then lets workers learn in between. One whose first step or
    second reset always fails does not.
    """

    def __init__(self, progress: ProgressTable) -> None:
        self._progress = progress
        self._last: tuple[str, int] | None = None
        self._number = 0

    def count(self, cause: Cause) -> int:
        """Count a failure; return how many of its kind there were in a row, with this one."""
        if cause.repeats is None:
            return 1
        this = cause.repeats, self._reached(cause)
        self._number = self._number + 1 if this == self._last else 1
        self._last = this
        return self._number

    def _reached(self, cause: Cause) -> int:
        """Return a number that grows while the run gets somewhere in spite of such failures."""
        updates, episodes = self._progress.total("updates"), self._progress.total("episodes")
        if cause.is_divergence:  # episodes end also where nothing is learned
            return updates
        return episodes if cause.in_reset else updates + episodes
