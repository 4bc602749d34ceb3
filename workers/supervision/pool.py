"""The pool of workers: starts them, replaces those that die or hang, ends them."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from workers.progress import ProgressTable
from workers.supervision.causes import Cause
from workers.supervision.child import Child
from workers.supervision.memory_kills import MemoryKills
from workers.supervision.repeats import Repeats

FAILED_STARTS = 3  # of one worker in a row, after which the run gives up
FROM_OUTSIDE = 3  # times as many failures are borne where they may have come from outside


class TooManyFailures(Exception):
    """Workers that kept failing; the run must end with exit code 3."""


class NothingWorks(Exception):
    """A failure that no replacement mends; the run must end with exit code 1."""


class WorkerPool:
    """N training workers; one that dies, or whose heartbeat stops, is replaced."""

    def __init__(
        self,
        *,
        start: Callable[[int, int], Child],
        progress: ProgressTable,
        timeout: float,
        max_restarts: int,
        tell: Callable[[str, str], None],
        receive: Callable[[int, Any], None],
    ) -> None:
        """Prepare the pool.

        `start(worker, restarts)` starts a worker. `tell(line, details)` is called for each failure,
        with one line and the traceback if there is one; the line is empty if it would repeat the
        one before. `receive(worker, message)` is called for every other message.
        """
        self._start, self._progress, self._timeout = start, progress, timeout
        self._max_restarts, self._tell, self._receive = max_restarts, tell, receive
        self._memory_kills = MemoryKills()
        self.restarts = 0
        self.children: list[Child] = []

    def start(self, num_workers: int) -> None:
        """Start the workers."""
        self._failed_starts = [0] * num_workers
        self._segments_at_start = self._progress.column("segments").copy()
        self._first_segment = self._progress.total("segments")
        self._repeats = Repeats(self._progress)
        # Many workers may meet the same rare failure at once.
        self._hopeless = max(3, 1 + num_workers // 4)
        for worker in range(num_workers):
            self.children.append(self._start(worker, 0))
        self._looked = self._grace = time.monotonic()

    @property
    def alive(self) -> int:
        """Number of workers whose process runs."""
        return sum(child.process.is_alive() for child in self.children)

    @property
    def ready(self) -> int:
        """Number of workers that have taken a step."""
        return sum(map(self._took_a_step, range(len(self.children))))

    def wait(self, seconds: float, pipes: list[Connection]) -> None:
        """Sleep until a worker ends or sends something, or one of `pipes` is readable.

        Sleep at most `seconds`.
        """
        alive = [child for child in self.children if child.process.is_alive()]
        workers = [item for child in alive for item in (child.process.sentinel, child.pipe)]
        wait([*workers, *pipes], seconds)
        for worker, child in enumerate(self.children):
            self._listen(worker, child)

    def check(self, *, timeout: float | None = None) -> None:
        """Replace the workers that died or hang. TooManyFailures, NothingWorks.

        `timeout`: the seconds without a step after which a worker counts as hung, if they are fewer
        than usual. Nobody is replaced after a worker has seen the end of the run, because no worker
        then waits for another one.
        """
        now, timeout = time.monotonic(), min(timeout or self._timeout, self._timeout)
        if now - self._looked > timeout / 2:
            # This process itself was stopped or starved, and perhaps the workers with it. Their
            # silence proves nothing, so their timeouts start anew.
            self._grace = now
        self._looked = now
        if self._progress.finished.any():
            return
        for worker, child in enumerate(self.children):
            if not child.process.is_alive():
                self._listen(worker, child)
                self._replace(worker, self._cause_of_death(child))
            elif self._silence(worker, now) > timeout:
                self._replace_hung(worker, timeout, now)

    def _silence(self, worker: int, now: float) -> float:
        heartbeat = self._progress.column("heartbeat")[worker] / 1e9
        return float(now - max(heartbeat, self.children[worker].started, self._grace))

    def _took_a_step(self, worker: int) -> bool:
        heartbeat = self._progress.column("heartbeat")[worker] / 1e9
        return bool(heartbeat > self.children[worker].started)

    def _listen(self, worker: int, child: Child) -> None:
        for message in child.messages():
            if isinstance(message, str):
                child.last_words += message
            else:
                self._receive(worker, message)

    def _cause_of_death(self, child: Child) -> Cause:
        cause = child.cause_of_death()
        if cause.words == "killed by SIGKILL" and self._memory_kills.happened():
            advice = "the machine ran out of memory; fewer --num-processes need less"
            return dataclasses.replace(cause, words=f"{cause.words}: {advice}")
        return cause

    def _replace_hung(self, worker: int, timeout: float, now: float) -> None:
        """Replace a worker that takes no steps. NothingWorks if nobody has ever done so."""
        workers = range(len(self.children))
        everybody = all(self._silence(other, now) > 0.9 * timeout for other in workers)
        if everybody and self._progress.total("segments") == self._first_segment:
            raise NothingWorks(
                f"no worker has finished a segment, and none has taken a step for {timeout:g} s; "
                "does reset() or step() of the environment hang, or need a longer --worker-timeout?"
            )
        self.children[worker].end(patience=0)
        self._replace(worker, Cause(f"no step for {timeout:g} s"), hung=True)

    def _replace(self, worker: int, cause: Cause, *, hung: bool = False) -> None:
        child, details = self.children[worker], self.children[worker].last_words
        child.end(patience=0)
        # A worker beats while it waits for others, too, which may be all that a hung one did.
        segments = self._progress.column("segments")[worker]
        worked = segments > self._segments_at_start[worker] if hung else self._took_a_step(worker)
        self._failed_starts[worker] = 0 if worked else self._failed_starts[worker] + 1
        number, borne = self._repeats.count(cause), 1 if cause.own else FROM_OUTSIDE
        if number >= self._hopeless * borne:
            self._tell("", details)
            raise NothingWorks(
                f"{number} workers in a row died in the same way, so that replacing them does not "
                f"help: {cause.words}"
            )
        died = f"worker {worker} died ({cause.words})"
        if (
            self.restarts >= self._max_restarts
            or self._failed_starts[worker] >= FAILED_STARTS * borne
        ):
            self._tell(died, details)
            raise TooManyFailures(f"{died} after {self.restarts} replacements")
        self._segments_at_start[worker] = segments
        self.children[worker] = self._start(worker, self.restarts + 1)
        self.restarts += 1
        child.release()
        then = f"replaced, the others go on (restart {self.restarts})"
        self._tell("" if number > 1 else f"{died}: {then}", details)

    def end(self, *, patience: float) -> None:
        """Wait at most `patience` seconds until all have ended, then kill the others."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and self.alive:
            self.wait(min(0.05, patience), [])
        for worker, child in enumerate(self.children):
            with contextlib.suppress(ValueError):  # its pipe may be closed
                self._listen(worker, child)
            child.end(patience=max(0.0, deadline - time.monotonic()))
