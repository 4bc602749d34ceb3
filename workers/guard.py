"""End the helper processes of environments, whatever becomes of the process that started them.

Each child of a run leads a process group of its own. Processes that its environments start belong
to this group, and carry its mark in their variables. Both are looked for when the child has ended.
Run as a program, this file is the guard: it outlives a main process that was killed.
"""

import contextlib
import os
import select
import signal
import sys
from typing import NoReturn

END_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
_MARK = "A3C_CHILD"


def new_mark() -> str:
    """Return a mark that no other child has, of this run or another one."""
    return os.urandom(8).hex()


def lead_group(mark: str) -> None:
    """Lead a process group from now on, and mark the programs that are started from here.

    Ctrl-C of a terminal does not reach that group, so simulators go on until they are closed. It is
    no session of its own: Linux shares the cores out to sessions first, and the test worker's lower
    priority counts only within its session.
    """
    os.environ[_MARK] = mark
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):  # it leads one already
            os.setpgid(0, 0)


def end_helpers(leader: int, mark: str) -> None:
    """Kill the group of the child `leader`, and the programs that bear its mark.

    Linux finds programs that left the group by their mark. Elsewhere those stay.
    """
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
    if sys.platform == "linux":
        for process in filter(str.isdigit, os.listdir("/proc")):
            if _has_mark(process, mark):
                with contextlib.suppress(OSError):
                    os.kill(int(process), signal.SIGKILL)


def _has_mark(process: str, mark: str) -> bool:
    try:
        with open(f"/proc/{process}/environ", "rb") as file:
            return f"{_MARK}={mark}".encode() in file.read().split(b"\0")
    except OSError:  # it has ended, or belongs to somebody else
        return False


def end_own_group() -> NoReturn:
    """Kill this process, and the helpers in its group if it leads one."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class Guard:
    """The main process's side of the guard, which is started with the first child."""

    def __init__(self) -> None:
        self._pipe: int | None = None  # it never blocks: somebody may have stopped the guard
        self._guard = 0
        self._marks: dict[int, str] = {}

    def add(self, leader: int, mark: str) -> None:
        """Let the guard end the helpers of this child if this process cannot."""
        self._marks[leader] = mark
        if not self._tell(f"{leader} {mark}\n"):
            self._start()

    def end(self, leader: int) -> None:
        """End the helpers of a child that has ended."""
        mark = self._marks.pop(leader, None)
        if mark is not None:
            end_helpers(leader, mark)
            self._tell(f"{leader}\n")

    def signal(self, number: int) -> None:
        """Send a signal to all children and the groups that they lead."""
        for leader in self._marks:
            with contextlib.suppress(OSError):
                os.killpg(leader, number)

    def _tell(self, line: str) -> bool:
        try:
            return self._pipe is not None and os.write(self._pipe, line.encode()) > 0
        except OSError:  # somebody has killed or stopped it
            return False

    def _start(self) -> None:
        if self._pipe is not None:
            # Before its pipe ends: it would take this for the end of the main process.
            with contextlib.suppress(OSError):
                os.kill(self._guard, signal.SIGKILL)
                os.waitpid(self._guard, 0)
            os.close(self._pipe)
            self._pipe = None
        if not hasattr(os, "posix_spawn"):
            return
        theirs, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        nowhere = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
        self._guard = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", __file__],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 0), nowhere],
            setsigmask=END_SIGNALS,
        )
        os.close(theirs)
        for leader, mark in self._marks.items():
            self._tell(f"{leader} {mark}\n")


GUARD = Guard()


def guard() -> None:
    """Read what children there are; when the main process has ended, end the helpers they left."""
    os.setsid()
    marks: dict[int, str] = {}
    parent, unread = os.getppid(), b""
    # A process that the main process forked may hold the pipe open for longer than that lives.
    while os.getppid() == parent:
        if not select.select([0], [], [], 1.0)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, unread = (unread + data).split(b"\n")
        for line in lines:
            leader, *mark = line.decode().split()
            marks.pop(int(leader), None)
            if mark:
                marks[int(leader)] = mark[0]
    for number, left in marks.items():
        end_helpers(number, left)


if __name__ == "__main__":
    guard()
