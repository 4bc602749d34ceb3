"""What children of tests do; their modules are imported in a moment."""

import os
import signal
import struct
import time
from typing import Any


def speak(stops: bool, pipe: Any) -> None:
    """Send two messages; stop in the middle of another one, or send that, too."""
    pipe.send("a whole message")
    if stops:
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the beginning of another")
        os.kill(os.getpid(), signal.SIGSTOP)
    pipe.send(bytes(1_000_000))


def fail(line: int, pipe: Any) -> None:
    """Die of an error at a line of a file."""
    pipe.send(
        "Traceback (most recent call last):\n"
        f'  File "/home/me/mine.py", line {line}, in step\n'
        "    raise ValueError\n"
        "ValueError: so it goes\n"
    )
    raise SystemExit(1)


def leave(code: int, pipe: Any) -> None:
    """Leave without a word."""
    os._exit(code)


def live(seconds: float, pipe: Any) -> None:
    """Do nothing for a while."""
    time.sleep(seconds)
