"""What the user sees of a run: printed lines, and on a terminal one live status line below them."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from workers.records.status_line import REDRAW_SECONDS, StatusLine, clock_time, text_of

_ERASE_LINE = "\r\x1b[K"
_STYLES = {"": "", "dim": "2", "bold": "1", "warn": "33", "bar": "36", "good": "1;32"}
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_GONE = (errno.EPIPE, errno.EIO)  # the pipe's reader, or the terminal, is gone for good


class Console:
    """The only writer of a text stream. If the stream breaks, it goes silent and never raises."""

    def __init__(
        self,
        *,
        stream: TextIO,
        is_terminal: bool | None = None,
        width: int | None = None,
        plain_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `stream`; ask the system whether it is a terminal, and of what width.

        Without a terminal the status is a plain line every `plain_interval` seconds.
        """
        self._stream = stream
        self._is_terminal = _is_terminal(stream) if is_terminal is None else is_terminal
        self._fixed_width = width
        self._colours = self._is_terminal and not os.environ.get("NO_COLOR")
        self._interval = REDRAW_SECONDS if self._is_terminal else plain_interval
        self._clock = clock
        self._next_status = 0.0
        self._status_line: StatusLine | None = None
        self._silent = False
        self.also: Callable[[str], object] = lambda text: None  # is called with every printed line

    def line(self, text: str) -> None:
        """Print a permanent line, above the status line."""
        self._print(text)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._print(self._styled("[warn]", "warn") + f" {text}")

    def classic(
        self,
        *,
        seconds: float,
        steps: int,
        fps: float,
        reward: float,
        length: int,
    ) -> None:
        """Print one evaluation in the format that scripts parse since the first A3C programs."""
        self._print(
            f"Time {clock_time(seconds, '{:02d}h {:02d}m {:02d}s')}, num steps {steps}, "
            f"FPS {fps:.0f}, episode reward {round(float(reward), 3)}, episode length {length}"
        )

    def banner(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print rows of (label, value) in two aligned columns; a value may have several lines."""
        width = max((len(label) for label, _ in rows), default=0)
        for label, value in rows:
            first, *others = value.splitlines() or [""]
            self._print(self._styled(label.ljust(width), "dim") + "  " + first)
            for other in others:
                self._print(" " * (width + 2) + other)

    def status(
        self,
        *,
        seconds: float,
        steps: int,
        steps_target: int | None = None,
        steps_per_second: float | None = None,
        workers_ready: int | None = None,
        workers: int | None = None,
        **numbers: float | None,
    ) -> None:
        """Show where the run is; most calls draw nothing and are cheap.

        `numbers` are those that the table of statistics marks as live, by name.
        """
        now = self._clock()
        if self._silent or now < self._next_status or (steps == 0 and not self._is_terminal):
            return
        self._next_status = now + self._interval
        self._status_line = StatusLine.of(
            seconds=seconds,
            steps=steps,
            steps_target=steps_target,
            steps_per_second=steps_per_second,
            workers_ready=workers_ready,
            workers=workers,
            numbers=numbers,
            bar=self._bar_characters() if self._is_terminal else None,
        )
        if self._is_terminal:
            self._write(_ERASE_LINE + self._live_text())
        else:
            self._write(self._status_line.text + "\n")

    def close(self) -> None:
        """Remove the status line; lines can still be printed."""
        if self._status_line is not None and self._is_terminal:
            self._write(_ERASE_LINE)
        self._status_line = None
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
            return
        # What cannot be flushed now would make the interpreter exit with an error.
        self._give_up()

    def _print(self, text: str) -> None:
        self.also(_STYLE.sub("", text))
        live = self._live_text() if self._is_terminal else ""
        self._write((_ERASE_LINE if live else "") + text + "\n" + live)

    def _live_text(self) -> str:
        if self._status_line is None:
            return ""
        room = self._width() - 1  # a full last column would wrap on some terminals
        shown = self._status_line.fitting(room)
        if len(shown) == 1:
            return text_of(shown[0])[:room]
        return "  ".join(
            "".join(self._styled(text, style) for text, style in part) for part in shown
        )

    def _bar_characters(self) -> tuple[str, str]:
        return ("\u2501", "\u2500") if self._can_encode("\u2501\u2500") else ("#", "-")

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colours and text and style else text

    def _width(self) -> int:
        if self._fixed_width is not None:
            return self._fixed_width
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError, AttributeError):
            return 80

    def _can_encode(self, text: str) -> bool:
        try:
            text.encode(self._encoding())
        except UnicodeEncodeError:
            return False
        return True

    def _encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"

    def _write(self, text: str) -> None:
        if self._silent:
            return
        encoding = self._encoding()
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except ValueError:  # closed
            self._silent = True
        except RuntimeError:
            pass  # a signal handler printed while this process was printing; the log has the text
        except OSError as error:
            if error.errno in _GONE:  # a full disk, in contrast, may have room again
                self._give_up()

    def _give_up(self) -> None:
        self._silent = True
        # The interpreter flushes the stream once more when it exits. A failure there would
        # change the exit code to 120.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, self._stream.fileno())
            os.close(handle)


def _is_terminal(stream: TextIO) -> bool:
    try:
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    except (ValueError, AttributeError):
        return False
    if terminal and os.name == "nt":
        os.system("")  # makes the Windows console understand escape sequences
    return terminal
