"""The pool of workers: starts them, replaces those that die or hang, ends them."""

import contextlib
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from workers.supervision.child import Child


class TooManyFailures(Exception):
    """Workers that kept failing; the run must end with exit code 3."""


class NothingWorks(Exception):
    """A failure before any worker has taken a step; the run must end with exit code 1."""


class WorkerPool:
    """N training workers; one that dies, or whose heartbeat stops, is replaced."""

    def __init__(
        self,
        *,
        start: Callable[[int, int], Child],
        heartbeats: Callable[[], Any],
        timeout: float,
        max_restarts: int,
        tell: Callable[[str, str], None],
        receive: Callable[[int, Any], None],
    ) -> None:
        """Prepare the pool.

        `start(worker, restarts)` starts a worker. `heartbeats()` returns monotonic ns [N], 0 before
        the first step. `tell(line, details)` is called for each failure, with one line and the
        traceback if there is one. `receive(worker, message)` is called for every other message.
        """
        self._start, self._heartbeats, self._timeout = start, heartbeats, timeout
        self._max_restarts, self._tell, self._receive = max_restarts, tell, receive
        self.restarts = 0
        self.children: list[Child] = []

    def start(self, num_workers: int) -> None:
        """Start the workers."""
        self._failed_starts = [0] * num_workers
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
        return sum(
            heartbeat / 1e9 > child.started
            for child, heartbeat in zip(self.children, self._heartbeats(), strict=True)
        )

    def wait(self, seconds: float, pipes: list[Connection]) -> None:
        """Sleep until a worker ends or sends something, or one of `pipes` is readable.

        Sleep at most `seconds`.
        """
        alive = [child for child in self.children if child.process.is_alive()]
        workers = [item for child in alive for item in (child.process.sentinel, child.pipe)]
        wait([*workers, *pipes], seconds)
        for worker, child in enumerate(self.children):
            self._listen(worker, child)

    def check(self) -> None:
        """Replace the workers that died or hang. TooManyFailures, NothingWorks.

        A worker with exit code 0 is not replaced: it has seen the end of the run.
        """
        now = time.monotonic()
        if now - self._looked > self._timeout / 2:
            # This process itself was stopped or starved, and perhaps the workers with it. Their
            # silence proves nothing, so their timeouts start anew.
            self._grace = now
        self._looked = now
        heartbeats = self._heartbeats()
        for worker, child in enumerate(self.children):
            last_sign = max(heartbeats[worker] / 1e9, child.started, self._grace)
            took_a_step = heartbeats[worker] / 1e9 > child.started
            if not child.process.is_alive():
                if child.process.exitcode != 0:
                    self._replace(worker, child.cause_of_death(), took_a_step=took_a_step)
            elif now - last_sign > self._timeout:
                child.process.kill()
                child.process.join()
                reason = f"no step for {self._timeout:g} s"
                self._replace(worker, reason, took_a_step=took_a_step)

    def _listen(self, worker: int, child: Child) -> None:
        for message in child.messages():
            if isinstance(message, str):
                child.last_words += message
            else:
                self._receive(worker, message)

    def _replace(self, worker: int, reason: str, *, took_a_step: bool) -> None:
        child = self.children[worker]
        self._listen(worker, child)
        details = child.last_words
        last_line = details.strip().splitlines()[-1:] or [""]
        cause = f"{reason}: {last_line[0]}" if last_line[0] else reason
        child.end(patience=0)
        self._failed_starts[worker] = 0 if took_a_step else self._failed_starts[worker] + 1
        if not took_a_step and not any(self._heartbeats()):
            self._tell(f"worker {worker} failed before its first step ({cause})", details)
            raise NothingWorks(f"the workers can't start: {cause}")
        if self.restarts >= self._max_restarts or self._failed_starts[worker] >= 3:
            self._tell(f"worker {worker} died ({cause})", details)
            raise TooManyFailures(
                f"worker {worker} died ({cause}) after {self.restarts} replacements; see log.txt"
            )
        self.restarts += 1
        self._tell(
            f"worker {worker} died ({cause}): replaced, the others go on (restart {self.restarts})",
            details,
        )
        self.children[worker] = self._start(worker, self.restarts)

    def end(self, *, patience: float, replace: bool = False) -> None:
        """Wait at most `patience` seconds until all have ended, then kill the others.

        `replace`: replace a worker that dies before any of them is done, because the others wait
        for its part. TooManyFailures, NothingWorks.
        """
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(
            child.process.is_alive() for child in self.children
        ):
            self.wait(min(0.05, patience), [])
            if replace and all(child.process.exitcode != 0 for child in self.children):
                self.check()
        for worker, child in enumerate(self.children):
            with contextlib.suppress(ValueError):  # its pipe may be closed
                self._listen(worker, child)
            child.end(patience=max(0.0, deadline - time.monotonic()))
