"""Where the time goes: microseconds of a core per environment step, by what they are spent on.

    python -m benchmarks.anatomy --setting PongDeterministic-v4:2x16

The workers are built as main.py builds them, traced gradient and all, and train together with a
stopwatch around each part. Their CPU time is counted, not the wall clock: what a part costs more
with many workers is what the caches lose.
"""

import argparse
import functools
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.throughput import measure_bare
from workers.process import cores, limit_threads
from workers.records.provenance import git_commit, machine

WARM_UP = 3.0  # seconds that do not count


class Stopwatch:
    """CPU seconds of this thread by part.

    A part's time does not contain that of the parts inside it.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0

    def around(self, owner: Any, name: str, part: str) -> None:
        """Count every call of a method of `owner` as `part`.

        Where it returns an iterator, every step of that is counted, too.
        """
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            result = self.time(part, lambda: function(*arguments, **options))
            return self._each(part, result) if isinstance(result, Iterator) else result

        object.__setattr__(owner, name, timed)  # an algorithm is frozen

    def time(self, part: str, call: Callable[[], Any]) -> Any:
        """Call `call`, count it as `part`, and return what it gives."""
        outer, self._inner = self._inner, 0.0
        began = time.thread_time()
        try:
            return call()
        finally:
            seconds = time.thread_time() - began
            self.seconds[part] += seconds - self._inner
            self._inner = outer + seconds

    def _each(self, part: str, iterator: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (item := self.time(part, lambda: next(iterator, end))) is not end:
            yield item


def watch(task: Any, seconds: float, pipe: Connection) -> None:
    """Train as a worker does, with stopwatches; send what `Period.result` gives."""
    from workers.process import keep_freed_memory, lengthen_time_slice, prepare_child
    from workers.worker import build_trainer

    with open(task.log_path, "a") as log:
        keep_freed_memory()
        prepare_child("anatomy", log)
        if task.config.exchange == "hogwild":
            lengthen_time_slice()
        trainer, stopwatch = build_trainer(task, send=lambda report: None), Stopwatch()
        stopwatch.around(trainer.actor.environments, "step", "environment")
        stopwatch.around(trainer.actor, "play", "acting")
        stopwatch.around(trainer.algorithm, "batches", "learning")
        stopwatch.around(trainer.learner, "gradient", "learning")
        stopwatch.around(trainer.learner.exchange, "pull", "pull")
        stopwatch.around(trainer.learner.exchange, "push", "push")
        period = Period(trainer.finished, stopwatch, task, seconds)
        trainer.finished = period.finished  # type: ignore[method-assign]
        trainer.run()
        pipe.send(period.result())


class Period:
    """The time that counts: so many seconds after the warm-up, between two segments."""

    def __init__(
        self, finished: Callable[[], bool], stopwatch: Stopwatch, task: Any, seconds: float
    ) -> None:
        """`finished` is the trainer's own; it is asked each time."""
        self._finished, self._stopwatch, self._task = finished, stopwatch, task
        self._starts = time.monotonic() + WARM_UP
        self._ends = self._starts + seconds
        self._began: tuple[float, float, float] | None = None

    def finished(self) -> bool:
        """Return whether the run is over, or the time that counts."""
        now = time.monotonic()
        if self._began is None and now > self._starts:
            self._stopwatch.seconds.clear()
            self._began = self._totals()
        return self._finished() or now > self._ends

    def result(self) -> tuple[float, float, dict[str, float]]:
        """Return steps, contributions and CPU seconds by part."""
        assert self._began is not None, "the warm-up is longer than the run"
        pairs = zip(self._totals(), self._began, strict=True)
        cpu, steps, contributions = (now - then for now, then in pairs)
        seconds = self._stopwatch.seconds
        seconds["bookkeeping"] = cpu - sum(seconds.values())
        return steps, contributions, dict(seconds)

    def _totals(self) -> tuple[float, float, float]:
        column, worker = self._task.memory.progress.column, self._task.worker
        steps, contributions = (float(column(name)[worker]) for name in ("steps", "contributions"))
        return time.thread_time(), steps, contributions


def measure(setting: str, *, seconds: float, extra: list[str]) -> dict[str, Any]:
    """Measure one setting, ENV:WORKERSxENVS."""
    import torch

    from workers.supervision.launch import prepare, warm_up

    env_name, _, size = setting.rpartition(":")
    workers, envs = size.split("x")
    bare = cores() * 1e6 / measure_bare(env_name, seconds)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--env-name", env_name, "--num-processes", workers, "--envs-per-process", envs]
        warm_up(words)
        run = prepare([*words, "--run-dir", str(Path(folder) / "run"), "--log-dir", folder, *extra])
        pipes = []
        for worker in range(run.config.num_processes):
            ours, theirs = run.context.Pipe()
            target: Any = run.context
            arguments = (run.task(worker), seconds, theirs)
            target.Process(target=watch, args=arguments, daemon=True).start()
            pipes.append(ours)
        results = [pipe.recv() for pipe in pipes]
        assert bool(torch.isfinite(run.parameters).all())
        run.close()
    steps, updates = sum(result[0] for result in results), sum(result[1] for result in results)
    names = results[0][2]
    parts = {name: 1e6 * sum(result[2][name] for result in results) / steps for name in names}
    environment = parts.pop("environment")
    parts = {"bare environment": bare, "preprocessing": environment - bare, **parts}
    total = sum(parts.values())
    of_update = {f"{part} per update": parts[part] * steps / updates for part in ("pull", "push")}
    shown = {
        name: round(value, 1) for name, value in (parts | {"total": total} | of_update).items()
    }
    return {
        "setting": setting,
        "ratio_if_nothing_else_ran": round(bare / total, 3),
        "microseconds_per_step": shown,
    }


def main() -> None:
    """Measure, and print one JSON object."""
    limit_threads()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--setting", action="append", required=True, help="ENV:WORKERSxENVS, repeatable"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    options, extra = parser.parse_known_args()
    results = [
        measure(setting, seconds=options.seconds, extra=extra) for setting in options.setting
    ]
    print(
        json.dumps(
            {
                "commit": git_commit(),
                "machine": machine(),
                "extra_flags": extra,
                "results": results,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
