"""Where the time goes: microseconds of a core per environment step, by what they are spent on.

    python -m benchmarks.anatomy --setting PongDeterministic-v4:2x16 --setting PongDeterministic-v4:16x1

The workers are those of main.py, all of them training together, with a stopwatch around each part. Their CPU time is counted, not
the wall clock: what a part costs more with many workers is what the caches lose.
"""

import argparse
import functools
import json
import multiprocessing
import os
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
    """CPU seconds of this thread by part; a part's time does not contain that of the parts inside it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0

    def around(self, owner: Any, name: str, part: str) -> None:
        """Counts every call of a method of `owner` as `part`; where it returns an iterator, every step of that."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            result = self.time(part, lambda: function(*arguments, **options))
            return self._each(part, result) if isinstance(result, Iterator) else result

        object.__setattr__(owner, name, timed)  # an algorithm is frozen

    def time(self, part: str, call: Callable[[], Any]) -> Any:
        """Calls and counts."""
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
    """A worker with stopwatches; sends steps, updates and CPU seconds by part."""
    from workers.process import keep_freed_memory, lengthen_time_slice, prepare_child
    from workers.trainer import Trainer

    with open(task.log_path, "a") as log:
        keep_freed_memory()
        prepare_child("anatomy", log)
        lengthen_time_slice()
        trainer, stopwatch = Trainer(task, send=pipe.send), Stopwatch()
        stopwatch.around(trainer._actor._environments, "step", "environment")
        stopwatch.around(trainer._actor, "play", "acting")
        stopwatch.around(trainer._algorithm, "batches", "learning")
        stopwatch.around(trainer, "_differentiate", "learning")
        stopwatch.around(trainer._exchange, "pull", "pull")
        stopwatch.around(trainer._exchange, "push", "push")
        began: dict[str, float] = {}
        prepared = trainer._finished

        def finished() -> bool:
            now = time.monotonic()
            if not began:
                began["warm-up"] = now
            elif "real" not in began and now - began["warm-up"] > WARM_UP:
                began["real"] = now
                stopwatch.seconds.clear()
                began["cpu"], began["steps"], began["updates"] = (
                    time.thread_time(),
                    row("steps"),
                    row("contributions"),
                )
            return prepared() or ("real" in began and now - began["real"] > seconds)

        def row(name: str) -> float:
            return float(task.memory.progress.column(name)[task.worker])

        trainer._finished = finished  # type: ignore[method-assign]
        trainer.run()
        cpu = time.thread_time() - began["cpu"]
        stopwatch.seconds["bookkeeping"] = cpu - sum(stopwatch.seconds.values())
        pipe.send(
            (
                row("steps") - began["steps"],
                row("contributions") - began["updates"],
                dict(stopwatch.seconds),
            )
        )


def measure(setting: str, *, seconds: float, extra: list[str]) -> dict[str, Any]:
    """One setting, ENV:WORKERSxENVS."""
    import torch

    from workers.records.run_folder import RunFolder
    from workers.settings.flags import parse
    from workers.supervision.run import Run, look_at
    from workers.trainer import Task

    env_name, _, size = setting.rpartition(":")
    workers, envs = size.split("x")
    bare = cores() * 1e6 / measure_bare(env_name, seconds)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workers.trainer", "ale_py"])
    with tempfile.TemporaryDirectory() as folder:
        line = parse(
            ["--env-name", env_name, "--num-processes", workers, "--envs-per-process", envs, *extra]
        )
        spaces = look_at(line.environment, line.config)
        place = RunFolder.create(
            run_dir=str(Path(folder) / "run"), log_dir=folder, env_name=env_name, algo="a3c", seed=1
        )
        run = Run(
            config=line.config,
            environment=line.environment,
            spaces=spaces,
            folder=place,
            context=context,
            state=None,
        )
        pipes = []
        for worker in range(line.config.num_processes):
            task = Task(
                config=line.config,
                environment=line.environment,
                spaces=spaces,
                memory=run.memory,
                worker=worker,
                stream=(0, 0),
                log_path=os.devnull,
            )
            ours, theirs = context.Pipe()
            context.Process(target=watch, args=(task, seconds, theirs), daemon=True).start()
            pipes.append(ours)
        results = [pipe.recv() for pipe in pipes]
        assert bool(torch.isfinite(run.parameters).all())
    steps, updates = sum(result[0] for result in results), sum(result[1] for result in results)
    parts = {
        part: 1e6 * sum(result[2][part] for result in results) / steps for part in results[0][2]
    }
    parts = {"bare environment": bare, "preprocessing": parts.pop("environment") - bare, **parts}
    total = sum(parts.values())
    per_update = {f"{part} per update": parts[part] * steps / updates for part in ("pull", "push")}
    rounded = {
        name: round(value, 1) for name, value in (parts | {"total": total} | per_update).items()
    }
    return {
        "setting": setting,
        "ratio_if_nothing_else_ran": round(bare / total, 3),
        "microseconds_per_step": rounded,
    }


def main() -> None:
    """Measures and prints one JSON object."""
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
