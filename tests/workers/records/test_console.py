"""The console draws on terminals, prints plain lines elsewhere, and never raises."""

import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from workers.records.console import Console

ROOT = Path(__file__).parents[3]


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


def show(screen: Console, **fields: Any) -> None:
    known: dict[str, Any] = {
        "seconds": 65.0,
        "steps": 61_440,
        "steps_target": 20_000_000,
        "steps_per_second": 1024.0,
        "train_return_mean": -20.6,
        "eval_return_mean": -21.0,
        "policy_lag": 7.4,
        "workers_ready": 16,
        "workers": 16,
    }
    screen.status(**(known | fields))


def test_pipe_has_plain_lines_and_few_of_them() -> None:
    stream, clock = io.StringIO(), Clock()
    screen = Console(stream=stream, clock=clock)
    screen.banner([("a3c", "torch"), ("run folder", "runs/x\nsecond")])
    screen.warn("worker 5 died")
    show(screen, steps=0)
    for clock.seconds in range(61):
        show(screen)
    screen.close()
    lines = stream.getvalue().splitlines()
    assert lines[:4] == [
        "a3c         torch",
        "run folder  runs/x",
        "            second",
        "[warn] worker 5 died",
    ]
    expected = (
        "00:01:05  61,440 / 20M steps  1,024 steps/s  train -20.6  eval -21.0  lag 7.4  "
        "16/16 workers  5h 24m left"
    )
    assert lines[4:] == [expected] * 3
    assert "\x1b" not in stream.getvalue()
    assert "\r" not in stream.getvalue()


def test_terminal_has_one_live_line_below_the_others() -> None:
    stream, clock = io.StringIO(), Clock()
    screen = Console(stream=stream, is_terminal=True, width=200, clock=clock)
    show(screen)
    show(screen, steps=70_000)  # too soon
    assert stream.getvalue().count("\r\x1b[K") == 1
    assert "\n" not in stream.getvalue()
    live = stream.getvalue()
    screen.line("printed")
    assert stream.getvalue() == live + "\r\x1b[Kprinted\n" + live.removeprefix("\r\x1b[K")
    clock.seconds = 0.25
    show(screen, steps=70_000)
    assert "70,000" in stream.getvalue()
    screen.close()
    assert stream.getvalue().endswith("\r\x1b[K")
    screen.line("after")
    assert stream.getvalue().endswith("\r\x1b[Kafter\n")


@pytest.mark.parametrize("width", [10, 20, 40, 80, 120])
def test_live_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    show(Console(stream=stream, is_terminal=True, width=width))
    text = stream.getvalue().removeprefix("\r\x1b[K")
    assert "\x1b" not in text
    assert 0 < len(text) < width


def test_unknown_numbers_are_left_out() -> None:
    stream = io.StringIO()
    Console(stream=stream).status(seconds=360_000, steps=5, train_return_mean=float("nan"))
    assert stream.getvalue() == "100:00:00  5 steps\n"


def test_classic_line() -> None:
    stream = io.StringIO()
    Console(stream=stream).classic(seconds=60.9, steps=61440, fps=1024.2, reward=-20.5, length=910)
    line = "Time 00h 01m 00s, num steps 61440, FPS 1024, episode reward -20.5, episode length 910\n"
    assert stream.getvalue() == line


def test_real_terminal_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    monkeypatch.setenv("TERM", "xterm")
    parent, child = pty.openpty()
    with open(child, "w", encoding="utf-8") as stream:
        screen = Console(stream=stream)
        show(screen)
        drawn = os.read(parent, 10_000).decode()
        os.close(parent)
        show(screen)
        for _ in range(3):
            screen.line("nobody reads this")
        screen.close()
    assert drawn.startswith("\r\x1b[K")
    assert "\x1b[1m" in drawn


def test_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    monkeypatch.setenv("TERM", "dumb")
    parent, child = pty.openpty()
    with open(child, "w", encoding="utf-8") as stream:
        show(Console(stream=stream))
        drawn = os.read(parent, 10_000).decode()
    os.close(parent)
    assert "steps/s" in drawn
    assert drawn.endswith("\n")
    assert "\x1b" not in drawn


def test_stream_that_cannot_encode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    screen = Console(stream=stream, is_terminal=True, width=200)
    show(screen, steps=10_000_000)
    screen.line("\u03b2 = 0.01")
    assert b"####" in raw.getvalue()
    assert b"? = 0.01" in raw.getvalue()


def test_closed_stream_is_silent() -> None:
    stream = io.StringIO()
    screen = Console(stream=stream)
    stream.close()
    screen.line("x")
    screen.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs /dev/full and POSIX pipes")
@pytest.mark.parametrize("target", ["broken pipe", "/dev/full"])
def test_stream_that_breaks_changes_no_exit_code(target: str) -> None:
    code = """
        import sys, time
        from workers.records.console import Console
        screen = Console(stream=sys.stdout)
        sys.stdin.readline()
        for _ in range(5):
            screen.line("x" * 1000)
        screen.close()
        raise SystemExit(7)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    if target == "broken pipe":
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        process.stdout.close()
        process.stdout = None
        errors = process.communicate("go\n", timeout=30)[1]
    else:
        if not os.path.exists(target):
            pytest.skip("no /dev/full")
        with open(target, "w") as full:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
            )
            errors = process.communicate("go\n", timeout=30)[1]
    assert (process.returncode, errors) == (7, "")
