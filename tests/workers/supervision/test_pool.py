"""Children that die, or stop, at the worst moment."""

import os
import resource
import signal
import sys
import threading
import time

import pytest

from tests.workers.supervision.children import fail, leave, live, speak
from workers.progress import ProgressTable, WorkerRow
from workers.supervision.child import Child, get_context
from workers.supervision.pool import NothingWorks, TooManyFailures, WorkerPool

CONTEXT = get_context("auto")


class Told:
    """A pool of workers that do what a list says, and what it tells."""

    def __init__(self, *lives, num_workers=1, max_restarts=1000, timeout=60.0):
        self.lives = iter(lives)
        self.lines, self.details, self.received = [], [], []
        self.progress = ProgressTable(num_workers, context=CONTEXT)
        self.pool = WorkerPool(
            start=self._start,
            progress=self.progress,
            timeout=timeout,
            max_restarts=max_restarts,
            tell=self._tell,
            receive=lambda worker, message: self.received.append(message),
        )
        self.pool.start(num_workers)

    def _start(self, worker, restarts):
        target, task = next(self.lives)
        return Child(target=target, task=task, name="child", context=CONTEXT)

    def _tell(self, line, details):
        self.lines.append(line)
        self.details.append(details)

    def watch(self, until, *, works=lambda: None):
        """Supervise the workers; `works` is called all the while."""
        deadline = time.monotonic() + 60
        try:
            while not until():
                assert time.monotonic() < deadline, self.lines
                works()
                self.pool.wait(0.1, [])
                self.pool.check()
        finally:
            self.pool.end(patience=0)

    def beat(self):
        self.progress.column("heartbeat")[:] = time.monotonic_ns()

    def learn(self):
        self.beat()
        self.progress.column("updates")[0] += 1


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_child_that_is_stopped_in_the_middle_of_a_message_is_replaced():
    told = Told((speak, True), (speak, False), (live, 60), timeout=2.0)
    WorkerRow(told.progress, 0).add("segments", 1)
    stopped = told.pool.children[0].process.pid
    told.watch(lambda: told.received)
    assert [len(message) for message in told.received] == [1_000_000], told.lines
    assert "no step for 2 s" in told.lines[0] and told.details[0] == "a whole message"
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


@pytest.mark.parametrize("code", [0, 7])
def test_a_worker_that_leaves_early_is_replaced_whatever_its_exit_code(code):
    told = Told((leave, code), (live, 60))
    told.watch(lambda: told.pool.restarts)
    assert f"worker 0 died (exit code {code} without an error; does" in told.lines[0]


def test_a_worker_that_has_seen_the_end_is_not_replaced():
    told = Told((leave, 1))
    WorkerRow(told.progress, 0).finish()
    told.watch(lambda: not told.pool.alive)
    told.pool.check()
    assert told.pool.restarts == 0


def test_the_same_error_again_and_again_ends_the_run_with_one_line():
    told = Told(*[(fail, 12)] * 9, num_workers=2)
    with pytest.raises(
        NothingWorks, match=r"ValueError: so it goes, file /home/me/mine.py, line 12"
    ):
        told.watch(lambda: False, works=told.beat)
    assert len([line for line in told.lines if line]) == 1


def test_the_same_error_now_and_then_does_not():
    told = Told(*[(fail, 12)] * 9, (live, 60))
    told.watch(lambda: told.pool.restarts == 9, works=told.learn)
    assert all("mine.py, line 12)" in line for line in told.lines)


def test_kills_before_the_first_step_are_not_errors_but_nine_of_one_worker_are_enough():
    told = Told(*[(live, 60)] * 9)
    killed = []

    def kill():
        pid = told.pool.children[0].process.pid
        if pid not in killed:
            killed.append(pid)
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(TooManyFailures, match="killed by SIGKILL"):
        told.watch(lambda: False, works=kill)
    assert told.pool.restarts == 8


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_replacements_leave_no_descriptors_and_no_threads():
    told = Told(*[(fail, line) for line in range(101)], (live, 60))
    told.beat()
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, hard)
    )
    try:
        told.watch(lambda: told.pool.restarts == 101, works=told.beat)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert threading.active_count() <= threads + 1
