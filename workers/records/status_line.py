"""The status line: time, progress, speed, the live numbers of the table of statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.records.statistics import LIVE, Live

REDRAW_SECONDS = 0.25

_BAR_CELLS = 20
_GAP = "  "

Part = list[tuple[str, str]]  # pieces of text and their styles, side by side


@dataclass(frozen=True)
class StatusLine:
    """Parts of a line, each with a number: on a narrow terminal the highest number goes first."""

    parts: Sequence[tuple[int, Part]]

    @classmethod
    def of(
        cls,
        *,
        seconds: float,
        steps: int,
        steps_target: int | None,
        steps_per_second: float | None,
        workers_ready: int | None,
        workers: int | None,
        numbers: Mapping[str, float | None],
        bar: tuple[str, str] | None,
    ) -> StatusLine:
        """Arrange what is known; `bar` is a pair of characters, or None for no progress bar."""
        unknown = numbers.keys() - {row.name for row in LIVE}
        assert not unknown, f"the table of statistics has no live {unknown}"
        done = min(1.0, steps / steps_target) if steps_target else None
        left = 0.0
        if steps_target and steps_per_second and seconds > 10:
            left = (steps_target - steps) / steps_per_second
        speed = Live(before="", form="{:,.0f}", after=" steps/s", gives_way=3)
        parts = [
            (0, [(clock_time(seconds), "dim")]),
            (8, _bar(done, bar)),
            (1, _progress(steps, steps_target)),
            (speed.gives_way, _number(steps_per_second, speed)),
        ]
        for row in LIVE:
            assert row.live is not None
            parts.append((row.live.gives_way, _number(numbers.get(row.name), row.live)))
        parts += [
            (5, _workers(workers_ready, workers)),
            (7, [(_duration(left), "bold"), (" left", "dim")] if left > 0 else []),
        ]
        return cls([part for part in parts if part[1]])

    @property
    def text(self) -> str:
        """The whole line, without styles."""
        return _GAP.join(text_of(part) for _, part in self.parts)

    def fitting(self, room: int) -> list[Part]:
        """Return the most important parts that fit into `room` columns, at least one."""
        shown = list(self.parts)
        while len(shown) > 1 and len(StatusLine(shown).text) > room:
            shown.remove(max(shown, key=lambda part: part[0]))
        return [part for _, part in shown]


def text_of(part: Part) -> str:
    """Return a part's text, without styles."""
    return "".join(text for text, _ in part)


def clock_time(seconds: float, form: str = "{:02d}:{:02d}:{:02d}") -> str:
    """Write a duration as hours, minutes and seconds."""
    return form.format(*_hours_minutes_seconds(seconds))


def _number(value: float | None, live: Live) -> Part:
    if value is None or not math.isfinite(value):
        return []
    return [(live.before, "dim"), (live.form.format(value), live.style), (live.after, "dim")]


def _bar(done: float | None, characters: tuple[str, str] | None) -> Part:
    if done is None or characters is None:
        return []
    full, empty = characters
    cells = int(done * _BAR_CELLS)
    return [
        (full * cells, "bar"),
        (empty * (_BAR_CELLS - cells), "dim"),
        (f" {int(100 * done):3d}%", "bold"),
    ]


def _progress(steps: int, target: int | None) -> Part:
    return [(f"{steps:,}", "bold"), (f" / {_compact(target)} steps" if target else " steps", "dim")]


def _workers(ready: int | None, workers: int | None) -> Part:
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


def _duration(seconds: float) -> str:
    hours, minutes, whole = _hours_minutes_seconds(seconds)
    if hours >= 48:
        return f"{hours // 24}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m" if minutes else f"{whole}s"
