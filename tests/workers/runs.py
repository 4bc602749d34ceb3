"""Runs of main.py as a user starts them, small enough for a test."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import live_processes, title

ROOT = Path(__file__).parent.parent.parent


def flags(text: str) -> tuple[str, ...]:
    """Return the words of a command line."""
    return tuple(text.split())


SMALL = flags(
    "--env-name envs.toys:Bandit-v0 --num-processes 2 --eval-interval 0 --video-interval 0"
)


class RunningMain:
    """main.py with its output in a file, its folder at `folder`.

    `ignored`: signals that it ignores from the start, as nohup does. `within`: a command of bash
    that runs it as "$@".
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        base: tuple[str, ...] = SMALL,
        resume: bool = False,
        ignored: tuple[signal.Signals, ...] = (),
        within: str = 'exec "$@"',
    ) -> None:
        self.folder, self.output = folder, folder.with_suffix(".out")
        where = ("--resume" if resume else "--run-dir", str(folder))

        def choose_signals() -> None:
            # Tests may themselves run in the background, where shells ignore SIGINT.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

        command = [
            *("bash", "-o", "pipefail", "-c", within, "bash"),
            sys.executable,
            str(ROOT / "main.py"),
            *(() if resume else base),
            *where,
            "--save-dir",
            "",
            *arguments,
        ]
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder.parent,
                start_new_session=True,
                preexec_fn=choose_signals,
            )

    def finish(self, timeout: float = 180.0) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self.process.wait(timeout)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it, and its group, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def text(self) -> str:
        """The printed lines."""
        return self.output.read_text()

    @property
    def status(self) -> dict[str, Any]:
        """The fields of status.json."""
        return json.loads((self.folder / "status.json").read_text())

    @property
    def workers(self) -> list[int]:
        """Process ids of the training workers."""
        return self._with_title("a3c worker")

    @property
    def tester(self) -> int:
        """Process id of the test worker."""
        (pid,) = self._with_title("a3c test worker")
        return pid

    @property
    def fork_server(self) -> int:
        """Process id of the server that forks workers."""
        children = descendants(self.process.pid)
        return next(pid for pid, title in children if "multiprocessing.forkserver" in title)

    @property
    def family(self) -> list[int]:
        """Process ids of all processes that it has started."""
        return [pid for pid, _ in descendants(self.process.pid)]

    def wait_for(self, steps: int, timeout: float = 90.0) -> None:
        """Wait until it has trained for `steps` steps."""
        path = self.folder / "status.json"
        wait_until(lambda: path.exists() and self.status["steps"] >= steps, timeout, self)

    def _with_title(self, start: str) -> list[int]:
        return [pid for pid, title in descendants(self.process.pid) if title.startswith(start)]


def wait_until(condition: Callable[[], bool], timeout: float, run: RunningMain) -> None:
    """Wait until `condition()`; fail after `timeout` seconds, with what `run` has printed."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout} s:\n{run.text}"
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    """Return whether the process has ended, reaped or not."""
    return state(pid) in "ZX"


def state(pid: int) -> str:
    """Return the letter of the process's state; X if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def descendants(pid: int) -> list[tuple[int, str]]:
    """Return the live processes that this one, or one of those, has started; and their titles."""
    parents = {child: parent for child, (parent, _) in live_processes().items()}
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found += [(child, title(child)) for child in sorted(frontier)]
    return found
