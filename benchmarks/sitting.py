"""A sitting: one start of main.py whose processes are struck by faults (Linux)."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import TAG, Family, descriptors, memory_and_threads
from workers.records import checkpoint

ROOT = Path(__file__).parent.parent
WORKER_TIMEOUT = 5
PATIENCE = 60.0  # seconds without a step after which a run counts as stuck
END_PATIENCE = 30.0
ENOUGH, SLACK = 5, 6  # samples of descriptors and threads; a child holds up to 3 descriptors
# A scheduler kills 30 s after its SIGTERM. This machine is busy, so "in time" is 20 s here.
IN_TIME = 20.0


class Lost(Exception):
    """Something that must not happen; one sentence."""


class Sitting:
    """One start of main.py, from its first step to its end."""

    def __init__(self, run: Path, flags: list[str], *, resume: bool, chance: random.Random) -> None:
        self.run, self.chance = run, chance
        tag = uuid.uuid4().hex
        self.family = Family(tag)
        where = ["--resume" if resume else "--run-dir", str(run)]
        limits = ["--worker-timeout", str(WORKER_TIMEOUT), "--max-restarts", "1000000"]
        more = ["--num-env-steps", "1e15", "--save-dir", "", "--checkpoint-interval", "5"]
        command = [sys.executable, str(ROOT / "main.py"), *where, *limits, *more]
        self.output = run.with_suffix(".out")
        self.written_before = written_at(run / "status.json")
        with open(self.output, "a") as output:
            self.main = subprocess.Popen(
                command + ([] if resume else flags),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=run.parent,
                env={**os.environ, TAG: tag},
                start_new_session=True,
                preexec_fn=heed_signals,
            )
        self.began = time.monotonic()
        self.steps = self.restarts = 0
        self.faults: collections.Counter[str] = collections.Counter()
        self.samples: list[tuple[int, int, float]] = []

    def status(self) -> dict[str, Any]:
        """Return status.json's fields of this sitting, {} before they are written."""
        path = self.run / "status.json"
        if written_at(path) == self.written_before:
            return {}
        status: dict[str, Any] = json.loads(path.read_text())
        return status

    def wait_for_steps(self, least: int) -> None:
        """Wait until more than `least` steps are done. Lost if the run ends or stands still."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if self.main.poll() is not None:
                raise Lost(f"the run ended by itself with exit code {self.main.returncode}")
            status = self.status()
            if status.get("state") == "running":
                if status["steps"] < self.steps:
                    raise Lost(f"steps went back from {self.steps} to {status['steps']}")
                self.steps, self.restarts = status["steps"], status["restarts"]
                if self.steps > least:
                    return
            if time.monotonic() > deadline:
                raise Lost(f"no step for {PATIENCE:g} s after {dict(self.faults)}")
            time.sleep(0.1)

    def strike(self) -> None:
        """Let one fault happen."""
        name = self.chance.choice(list(FAULTS))
        if FAULTS[name](self):
            self.faults[name] += 1

    def sample(self) -> None:
        """Note the main process's descriptors, threads and memory."""
        memory, threads = memory_and_threads(self.main.pid)
        self.samples.append((descriptors(self.main.pid), threads, memory))

    def check_flat(self) -> None:
        """Raise Lost if descriptors or threads of the main process grow with replacements."""
        if len(self.samples) < 2 * ENOUGH:
            return
        for index, what in enumerate(("descriptors", "threads")):
            first, last = (
                min(sample[index] for sample in part)
                for part in (self.samples[:ENOUGH], self.samples[-ENOUGH:])
            )
            if last > first + SLACK:
                raise Lost(f"{what} grew from {first} to {last} in {self.restarts} replacements")

    def one_of(self, title: str) -> int | None:
        """Return the id of a process with this in its title, drawn at random."""
        found = [pid for pid, name in self.family.titles().items() if title in name]
        return self.chance.choice(found) if found else None

    def send(self, number: int, title: str) -> bool:
        """Send a signal to a process with this in its title; return whether there was one."""
        pid = self.one_of(title)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def end(self) -> tuple[str, int, float]:
        """End the run in one of several ways; return (way, exit code, seconds). Lost."""
        way = self.chance.choice(list(ENDS))
        number, expected = ENDS[way]
        if "frozen" in way:
            self.send(signal.SIGSTOP, "a3c worker")
        began = time.monotonic()
        if "group" in way:
            os.killpg(self.main.pid, number)
        else:
            self.main.send_signal(number)
        try:
            code = self.main.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            raise Lost(f"{way} did not end the run in {END_PATIENCE:g} s") from None
        seconds = time.monotonic() - began
        if code != expected:
            raise Lost(f"{way} ended the run with exit code {code} instead of {expected}")
        if number != signal.SIGKILL:
            self.check_saved(way, seconds)
        return way, code, seconds

    def check_saved(self, way: str, seconds: float) -> None:
        """Raise Lost unless the run ended in time with all of its steps saved."""
        if seconds > IN_TIME:
            raise Lost(f"{way} took {seconds:.1f} s")
        status = self.status()
        if status.get("state") != "interrupted":
            raise Lost(f"after {way} status.json says {status.get('state')!r}")
        saved = newest_steps(self.run)
        if saved != status["steps"]:
            raise Lost(f"after {way} {saved} steps are saved of {status['steps']}")

    def check_gone(self) -> None:
        """Raise Lost if a process of the run is still alive after 10 s, and kill it."""
        deadline = time.monotonic() + 10
        while left := self.family.titles():
            if time.monotonic() > deadline:
                raise Lost(f"left behind: {', '.join(left.values())}")
            time.sleep(0.1)


def heed_signals() -> None:
    """Undo what a shell's background and nohup do: a signal ignored at the start stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def written_at(path: Path) -> int:
    """Return when a file was written, in ns since 1970; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def newest_steps(run: Path) -> int:
    """Return the steps of the newest good checkpoint; 0 if there is none yet."""
    try:
        return int(checkpoint.latest(run / "checkpoints")[1]["steps"])
    except checkpoint.CheckpointError:
        return 0


def signalling(number: int, title: str) -> Callable[[Sitting], bool]:
    """Return the fault that sends a signal to one of the processes with this title."""
    return lambda sitting: sitting.send(number, title)


def ask_for_checkpoint(sitting: Sitting) -> bool:
    """Send SIGUSR1 to the main process."""
    sitting.main.send_signal(signal.SIGUSR1)
    return True


FAULTS: dict[str, Callable[[Sitting], bool]] = {
    "worker killed": signalling(signal.SIGKILL, "a3c worker"),
    "worker's memory violated": signalling(signal.SIGSEGV, "a3c worker"),
    "worker stopped": signalling(signal.SIGSTOP, "a3c worker"),
    "worker told to end": signalling(signal.SIGTERM, "a3c worker"),
    "test worker killed": signalling(signal.SIGKILL, "a3c test worker"),
    "test worker stopped": signalling(signal.SIGSTOP, "a3c test worker"),
    "fork server killed": signalling(signal.SIGKILL, "multiprocessing.forkserver"),
    "checkpoint asked for": ask_for_checkpoint,
}
ENDS = {
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGTERM to the group": (signal.SIGTERM, 143),
    "SIGTERM with a frozen worker": (signal.SIGTERM, 143),
    "SIGINT": (signal.SIGINT, 130),
    "SIGHUP": (signal.SIGHUP, 143),
    "SIGKILL": (signal.SIGKILL, -9),
    "SIGKILL to the group": (signal.SIGKILL, -9),
}
