"""Many trials, each in a process of its own, some at a time."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.strangers.trial import Outcome


@dataclass(frozen=True)
class Trial:
    """A trial's name, which can be pasted to repeat it, and what it does."""

    name: str
    run: Callable[[], Outcome]


def run_trials(
    trials: Sequence[Trial], *, jobs: int, patience: float, seconds: float
) -> Iterator[tuple[Trial, Outcome]]:
    """Yield the trials and their outcomes as they end; start none after `seconds`.

    Each has `patience` seconds. A forked process has imported everything already.
    """
    waiting, began = list(reversed(trials)), time.monotonic()
    context = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[Trial, Any, float]] = {}
    while running or waiting:
        while waiting and len(running) < jobs:
            if time.monotonic() - began > seconds:
                waiting.clear()
                break
            trial = waiting.pop()
            pipe, theirs = multiprocessing.Pipe(duplex=False)
            process = context.Process(target=_live, args=(trial, theirs))
            process.start()
            theirs.close()
            running[pipe] = trial, process, time.monotonic() + patience
        ready = {*wait(list(running), 0.2)}
        for pipe in [pipe for pipe in running if pipe in ready]:
            trial, process, _ = running.pop(pipe)
            try:
                outcome = pipe.recv()
            except EOFError:
                process.join(5)
                outcome = Outcome("FAILED", f"the process died: exit code {process.exitcode}")
            _end(process)
            yield trial, outcome
        for pipe in [pipe for pipe, (_, _, end) in running.items() if time.monotonic() > end]:
            trial, process, _ = running.pop(pipe)
            _end(process)
            yield trial, Outcome("FAILED", f"no end within {patience:g} s")


def _live(trial: Trial, pipe: Connection) -> None:
    """Run a trial; what it prints is lost."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    pipe.send(trial.run())
    os._exit(0)  # whatever threads there are


def _end(process: Any) -> None:
    process.kill()
    process.join()
    process.close()
