"""How workers at a barrier stop: they complete their segments, but nobody waits long for one."""

import time
from collections.abc import Callable

from workers.progress import ProgressTable
from workers.supervision.pool import NothingWorks, TooManyFailures, WorkerPool
from workers.supervision.saver import NotFinite

# Seconds since the signal that ends the run. Schedulers kill after 30, some after 10.
SILENCE = 3.0  # after so many without a step a worker is replaced; then a checkpoint is saved, too
REPLACED_PATIENCE = 7.0  # until a replacement must have done its part
LONGEST_PATIENCE = 20.0


def stop_at_barrier(
    pool: WorkerPool,
    progress: ProgressTable,
    *,
    patience: float,
    hurried: Callable[[], bool],
    save: Callable[[], None],
) -> None:
    """Wait until all workers have completed their segments, at most `patience` seconds.

    A worker that dies or hangs is replaced, because the others wait for its part. Once `hurried`, a
    worker counts as hung much earlier, and `save` is called where the segments take long.
    """
    began, hurried_since, saved, restarts = time.monotonic(), None, False, pool.restarts
    while pool.alive and not progress.finished.all():
        pool.wait(0.05, [])
        now = time.monotonic()
        if hurried_since is None and hurried():
            hurried_since = now
        if hurried_since is not None:
            patience = REPLACED_PATIENCE if pool.restarts > restarts else LONGEST_PATIENCE
        if now - (hurried_since or began) > patience:
            return
        try:
            pool.check(timeout=None if hurried_since is None else SILENCE)
        except (TooManyFailures, NothingWorks, NotFinite):  # what is there is saved all the same
            return
        if not saved and hurried_since is not None and now - hurried_since > SILENCE:
            saved = True
            save()
