"""Where a process prints, from Python and from C code."""

import contextlib
import ctypes
import io
import os
import sys
from typing import TextIO


def open_missing_streams() -> None:
    """Open /dev/null where standard input, output or error were closed when the program started.

    Otherwise the next file that is opened takes the place, and C code prints into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def print_to(log: TextIO) -> None:
    """Let everything that this process prints from now on go to `log`, line by line."""
    flush_output()
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        os.dup2(log.fileno(), number)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)


def flush_output() -> None:
    """Write what Python and C code have printed and still hold; errors do not matter."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    if os.name == "posix":
        with contextlib.suppress(Exception):
            ctypes.CDLL(None).fflush(None)
