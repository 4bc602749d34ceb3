"""What a child process does first: signals, threads, memory, and an end with its parent."""

import contextlib
import ctypes
import faulthandler
import json
import os
import platform
import signal
import struct
import sys
import threading
from collections.abc import Iterator
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TextIO

from workers.guard import END_SIGNALS, end_own_group
from workers.output import print_to

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
ROOT = str(Path(__file__).absolute().parents[1])  # where the project's modules lie
_BEFORE = "A3C_VARIABLES_BEFORE"
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def limit_threads() -> None:
    """Give every numeric library that is imported after this one thread.

    Workers share the cores already; more threads than cores would slow each other down.
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"


def put_working_folder_last() -> None:
    """Let modules be found in the working folder, but none there hide another of that name.

    People keep environments of their own there, and files such as `random.py` or `envs.py`.
    """
    try:
        folder = os.getcwd()
    except OSError:  # the folder has been deleted
        return
    if folder != ROOT:
        sys.path[:] = [*(path for path in sys.path if path not in ("", folder)), folder]


@contextlib.contextmanager
def same_path() -> Iterator[None]:
    """Let Python processes that are started inside search for modules where this one does.

    By themselves children, the fork server and the resource tracker search the working folder first
    for everything that they import, `random` and `multiprocessing` included.
    """
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"}
    os.environ[_BEFORE] = json.dumps({name: os.environ.get(name) for name in variables})
    os.environ.update(variables)
    try:
        yield
    finally:
        restore_variables()


def restore_variables() -> None:
    """Undo `same_path` here: programs that an environment starts have search paths of their own."""
    for name, value in json.loads(os.environ.pop(_BEFORE, "{}")).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def starting_children() -> Iterator[None]:
    """Start children inside: with this process's search path, and with end signals blocked.

    Only the main process answers the signals that end a run. Terminals, timeout(1) and schedulers
    send them to the whole group of processes, and workers that died of one would be taken for
    failures.
    """
    with same_path():
        if not hasattr(signal, "pthread_sigmask"):
            yield
            return
        from multiprocessing import resource_tracker

        before = signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
        try:
            # Otherwise the tracker would be started later, and starting it unblocks two of them.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, END_SIGNALS)
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_log(path: str | Path) -> TextIO:
    """Open the log for what this process prints; where that fails, what it prints is lost."""
    try:
        return open(path, "a")
    except OSError:  # the run's folder may be gone; the main process sees to that
        return open(os.devnull, "a")


def prepare_child(title: str, log: TextIO) -> None:
    """Prepare this process: one thread, what is printed to `log`, an end with its parent."""
    import cv2
    import torch

    restore_variables()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    faulthandler.enable(log)
    print_to(log)
    _die_with_parent()
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(title)


def keep_freed_memory() -> None:
    """Keep freed memory for the next update; the resident size then stays at its peak."""
    # The activations of a segment take megabytes. By default glibc returns them to the kernel after
    # each update, and the next update faults them in again page by page. This took a third of the
    # learning time.
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            mallopt(_M_TRIM_THRESHOLD, 1 << 30)


def lengthen_time_slice(milliseconds: float = 100.0) -> None:
    """Ask Linux (6.12 and later) to let this process compute that long at a stretch.

    With more workers than cores, the network's parameters leave the caches at each switch to
    another worker. On other systems nothing happens.
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
    """End this process when its parent ends: by the kernel on Linux, by a thread everywhere."""
    if sys.platform == "linux":
        _let_fork_server_end()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        end_own_group()

    threading.Thread(target=watch, daemon=True, name="parent watch").start()


def _let_fork_server_end() -> None:
    # The kernel kills this process when the fork server ends. The fork server ends when no process
    # holds the pipe to it any more. Each child inherits an end of this pipe, to start children of
    # its own, and a stopped child would hold it for ever.
    from multiprocessing import forkserver

    held = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if held is not None:
        os.close(held)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
