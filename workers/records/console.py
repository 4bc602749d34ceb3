"""What the user sees while a run trains: printed lines, and below them one live status line on a terminal."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import TextIO

REDRAW_SECONDS = 0.25

_ERASE_LINE = "\r\x1b[K"
_STYLES = {"": "", "dim": "2", "bold": "1", "warn": "33", "bar": "36", "good": "1;32"}
_BAR_CELLS = 20
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_GAP = "  "
_GONE = (errno.EPIPE, errno.EIO)  # the reader of the pipe, or the terminal, has gone for good

_Part = list[tuple[str, str]]  # pieces of text and their styles, side by side


class Console:
    """The only writer of a text stream; a stream that breaks silences it and never raises."""

    def __init__(
        self,
        *,
        stream: TextIO,
        is_terminal: bool | None = None,
        plain_interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to `stream`; without a terminal the status becomes a plain line every `plain_interval` seconds."""
        self._stream = stream
        self._is_terminal = _is_terminal(stream) if is_terminal is None else is_terminal
        self._colours = self._is_terminal and not os.environ.get("NO_COLOR")
        self._interval = REDRAW_SECONDS if self._is_terminal else plain_interval
        self._clock = clock
        self._next_status = 0.0
        self._parts: list[
            tuple[int, _Part]
        ] = []  # the first to go on a narrow terminal has the highest number
        self._silent = False
        self.also: Callable[[str], object] = lambda text: None  # hears every permanent line

    def line(self, text: str) -> None:
        """Print a permanent line, above the status line."""
        self._print(text)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._print(self._styled("[warn]", "warn") + f" {text}")

    def classic(
        self, *, seconds: float, steps: int, fps: float, reward: float, length: int
    ) -> None:
        """Print one evaluation in the words that scripts have parsed since the first A3C programs."""
        clock = "{:02d}h {:02d}m {:02d}s".format(*_hours_minutes_seconds(seconds))
        self._print(
            f"Time {clock}, num steps {steps}, FPS {fps:.0f}, episode reward {round(float(reward), 3)}, episode length {length}"
        )

    def banner(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print rows of (label, value) in two aligned columns; further lines of a value are indented to its column."""
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
        train_return_mean: float | None = None,
        eval_return_mean: float | None = None,
        policy_lag: float | None = None,
        workers_ready: int | None = None,
        workers: int | None = None,
    ) -> None:
        """Show where the run is; cheap to call often, since most calls draw nothing."""
        now = self._clock()
        if self._silent or now < self._next_status or (steps == 0 and not self._is_terminal):
            return
        self._next_status = now + self._interval
        done = min(1.0, steps / steps_target) if steps_target else None
        left = (
            (steps_target - steps) / steps_per_second
            if steps_target and steps_per_second and seconds > 10
            else 0.0
        )
        self._parts = [
            (0, [(_clock_time(seconds), "dim")]),
            (8, self._bar(done)),
            (1, _progress(steps, steps_target)),
            (3, _number(steps_per_second, "{:,.0f}", "", " steps/s")),
            (2, _number(train_return_mean, "{:.1f}", "train ", "")),
            (4, _number(eval_return_mean, "{:.1f}", "eval ", "", style="good")),
            (6, _number(policy_lag, "{:.1f}", "lag ", "")),
            (5, _workers(workers_ready, workers)),
            (7, [(_duration(left), "bold"), (" left", "dim")] if left > 0 else []),
        ]
        if self._is_terminal:
            self._write(_ERASE_LINE + self._live_line())
        else:
            self._write(_GAP.join(_text(part) for _, part in self._parts if part) + "\n")

    def close(self) -> None:
        """Take the status line away; lines can still be printed."""
        if self._parts and self._is_terminal:
            self._write(_ERASE_LINE)
        self._parts = []
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
            return
        self._give_up()  # what cannot be flushed now would make the interpreter exit with an error

    def _print(self, text: str) -> None:
        self.also(_STYLE.sub("", text))
        live = self._is_terminal and bool(self._parts)
        self._write(
            (_ERASE_LINE if live else "") + text + "\n" + (self._live_line() if live else "")
        )

    def _live_line(self) -> str:
        """The status parts that fit the terminal's width, the important ones kept longest."""
        shown = [part for part in self._parts if part[1]]
        room = self._width() - 1  # a full last column would wrap on some terminals
        while len(shown) > 1 and len(_GAP.join(_text(part) for _, part in shown)) > room:
            shown.remove(max(shown, key=lambda part: part[0]))
        if len(shown) == 1:
            return _text(shown[0][1])[:room]
        return _GAP.join(
            "".join(self._styled(text, style) for text, style in part) for _, part in shown
        )

    def _bar(self, done: float | None) -> _Part:
        if done is None or not self._is_terminal:
            return []
        full, empty = ("\u2501", "\u2500") if self._can_encode("\u2501\u2500") else ("#", "-")
        cells = int(done * _BAR_CELLS)
        return [
            (full * cells, "bar"),
            (empty * (_BAR_CELLS - cells), "dim"),
            (f" {int(100 * done):3d}%", "bold"),
        ]

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self._colours and text and style else text

    def _width(self) -> int:
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
            pass  # a signal handler that prints while its own process was printing; the log has the text
        except OSError as error:
            if error.errno in _GONE:  # a full disk, in contrast, may have room again
                self._give_up()

    def _give_up(self) -> None:
        self._silent = True
        # The interpreter flushes the stream once more when it exits, and would turn that failure into exit code 120.
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


def _text(part: _Part) -> str:
    return "".join(text for text, _ in part)


def _number(
    value: float | None, form: str, before: str, after: str, *, style: str = "bold"
) -> _Part:
    if value is None or not math.isfinite(value):
        return []
    return [(before, "dim"), (form.format(value), style), (after, "dim")]


def _progress(steps: int, target: int | None) -> _Part:
    return [(f"{steps:,}", "bold"), (f" / {_compact(target)} steps" if target else " steps", "dim")]


def _workers(ready: int | None, workers: int | None) -> _Part:
    if ready is None or workers is None:
        return []
    return [(f"{ready}/{workers}", "bold" if ready >= workers else "warn"), (" workers", "dim")]


def _compact(number: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return str(number)


def _hours_minutes_seconds(seconds: float) -> tuple[int, int, int]:
    minutes, whole = divmod(int(seconds), 60)
    return minutes // 60, minutes % 60, whole


def _clock_time(seconds: float) -> str:
    return "{:02d}:{:02d}:{:02d}".format(*_hours_minutes_seconds(seconds))


def _duration(seconds: float) -> str:
    hours, minutes, whole = _hours_minutes_seconds(seconds)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m" if minutes else f"{whole}s"
