"""What every child process does first: its signals, threads and memory, and an end when its parent ends."""

import contextlib
import ctypes
import faulthandler
import os
import platform
import signal
import struct
import sys
import threading
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from typing import TextIO

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def limit_threads() -> None:
    """One thread for every numeric library that is imported after this; workers share the cores, threads would fight for them."""
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Processes started inside inherit blocked signals: those meant to end a run are the main process's to answer.

    Terminals, timeout(1) and schedulers signal the whole group; workers that died of it would be taken for failures.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it would be started now otherwise, and unblocks signals when it has been
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepare_child(title: str, log: TextIO) -> None:
    """Makes the process single-threaded and mortal with its parent, leaves Ctrl-C to the parent, and writes errors to `log`."""
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    faulthandler.enable(log)
    os.dup2(
        log.fileno(), 2
    )  # what libraries say on their own belongs in the log, not between the lines on the terminal
    _die_with_parent()
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(title)


def keep_freed_memory() -> None:
    """Keeps memory that was freed for the next update, at the cost of a resident size that stays at its peak."""
    # Activations of a segment are megabytes; glibc would give them back to the kernel after each update and fault them in
    # page by page at the next: a third of the learning time.
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def lengthen_time_slice(milliseconds: float = 100.0) -> None:
    """Asks Linux (6.12 and later) to let this process compute that long at a stretch; elsewhere nothing happens.

    With more workers than cores, each switch to another worker empties the caches of the network's parameters.
    """
    if sys.platform != "linux":
        return
    number = {"x86_64": 314, "aarch64": 274}.get(platform.machine())
    if number is not None:
        size, policy, flags, nice, priority = 48, 0, 0, os.nice(0), 0
        attributes = struct.pack(
            "IIQiIQQQ", size, policy, flags, nice, priority, int(milliseconds * 1e6), 0, 0
        )
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)


def _die_with_parent() -> None:
    """Ends this process when its parent is gone, by the kernel on Linux and by a watching thread everywhere."""
    if sys.platform == "linux":
        _let_fork_server_end()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


def _let_fork_server_end() -> None:
    # The fork server, whose death tells the kernel to kill us, lives while anybody holds the pipe to it. Each child is given
    # an end, to start children of its own, and a stopped child would hold it for ever.
    from multiprocessing import forkserver

    held = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if held is not None:
        os.close(held)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
