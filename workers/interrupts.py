"""Signals: once is tidy, twice is now."""

import signal
from types import FrameType

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}


class Interrupts:
    """Notes the signals that end a run, and SIGUSR1, which asks for a checkpoint.

    The first one is only noted; a second one raises KeyboardInterrupt wherever the program is.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self.checkpoint_wanted = False
        for name in EXIT_CODES:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._end)
        if hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, self._checkpoint)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name

    def _checkpoint(self, number: int, frame: FrameType | None) -> None:
        self.checkpoint_wanted = True

    @property
    def exit_code(self) -> int:
        """128 + the signal's number; a lost terminal counts as a request to end."""
        return EXIT_CODES[self.received or "SIGINT"]
