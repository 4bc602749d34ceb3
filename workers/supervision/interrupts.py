"""Signals: the first one ends the run in order, a second one at once."""

import os
import signal
import time
from types import FrameType

from workers.guard import GUARD

# timeout(1) and schedulers signal a process and its group: one request arrives twice.
ECHO_SECONDS = 0.5
EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}


def is_ignored(name: str) -> bool:
    """Return whether this signal was ignored when the program started, and shall stay so.

    nohup ignores SIGHUP, a shell without job control ignores SIGINT in what it starts with `&`.
    SIGTERM always ends a run.
    """
    ignored = signal.getsignal(getattr(signal, name)) is signal.SIG_IGN
    return name != "SIGTERM" and ignored


class Interrupts:
    """Notes the signals that end a run, and SIGUSR1, which asks for a checkpoint.

    The first one is only noted. A second one raises KeyboardInterrupt, wherever the program is.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._received_at = 0.0
        self.checkpoint_wanted = False
        for name in EXIT_CODES:
            if hasattr(signal, name) and not is_ignored(name):
                signal.signal(getattr(signal, name), self._end)
        if hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, self._checkpoint)
        if hasattr(signal, "SIGTSTP") and not is_ignored("SIGTSTP"):
            signal.signal(signal.SIGTSTP, _suspend)

    def _end(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = signal.Signals(number).name, now
        elif now - self._received_at > ECHO_SECONDS:
            raise KeyboardInterrupt

    def _checkpoint(self, number: int, frame: FrameType | None) -> None:
        self.checkpoint_wanted = True

    @property
    def exit_code(self) -> int:
        """128 + the signal's number; a lost terminal counts as SIGTERM."""
        return EXIT_CODES[self.received or "SIGINT"]


def _suspend(number: int, frame: FrameType | None) -> None:
    """Stop all processes of the run until this one is continued: Ctrl-Z reaches only this one."""
    GUARD.signal(signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    GUARD.signal(signal.SIGCONT)
