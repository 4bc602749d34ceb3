"""The main process's side of the test worker: keeps it alive, and files what it reports."""

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext

import numpy as np

from workers.evaluator import Evaluation, EvaluatorTask, run_evaluator
from workers.records.console import Console
from workers.records.records import Evaluation as Evaluated
from workers.records.records import Records
from workers.supervision.pool import Child
from workers.supervision.reporter import Reporter
from workers.supervision.run import Run

MAX_FAILURES = 3
FINAL_PATIENCE = 120.0  # seconds


class Evaluations:
    """Starts the test worker and replaces it when it dies; training never waits for it."""

    def __init__(
        self,
        run: Run,
        *,
        context: BaseContext,
        records: Records,
        console: Console,
        reporter: Reporter,
        warn: Callable[[str], None],
    ) -> None:
        self._run, self._context, self._records, self._console = run, context, records, console
        self._reporter, self._warn = reporter, warn
        self.last: Evaluated | None = records.last_evaluation
        self.best_mean, self.episodes_done = run.best_mean, run.evaluated_episodes
        self._failures = 0
        self._child: Child | None = None

    @property
    def pipes(self) -> list[Connection]:
        """Become readable when there is news."""
        return [] if self._child is None else [self._child.pipe]

    @property
    def mean(self) -> float | None:
        """Mean return of the last evaluation."""
        return None if self.last is None else float(np.mean(self.last[1]))

    def start(self) -> None:
        """Starts the test worker."""
        run = self._run
        task = EvaluatorTask(
            config=run.config,
            environment=run.environment,
            spaces=run.spaces,
            memory=run.memory,
            folder=run.folder,
            title=run.title,
            began=self._reporter.began,
            best_mean=self.best_mean,
            episodes_done=self.episodes_done,
        )
        run.memory.progress.tester_heartbeat = 0
        self._child = Child(
            target=run_evaluator, task=task, name="test worker", context=self._context
        )

    def listen(self) -> None:
        """Files what has been reported, and replaces a test worker that is dead or hangs."""
        child = self._child
        if child is None:
            return
        for message in child.messages():
            if isinstance(message, Evaluation):
                self._file(message)
                child.send("draw")
            else:
                self._records.log(message)
        if not child.process.is_alive():
            self._replace(child, child.cause_of_death())
        elif self._hangs():
            self._replace(child, f"no step for {self._run.config.worker_timeout:g} s")

    def _hangs(self) -> bool:
        heartbeat = self._run.memory.progress.tester_heartbeat
        return (
            heartbeat > 0 and time.monotonic() - heartbeat / 1e9 > self._run.config.worker_timeout
        )

    def _replace(self, child: Child, cause: str) -> None:
        self._failures += 1
        gives_up = self._failures == MAX_FAILURES
        then = "no more evaluations" if gives_up else "replaced"
        self._warn(f"the test worker died ({cause}): {then}, training goes on")
        child.end(patience=0.0)
        self._child = None
        if not gives_up:
            self.start()

    def once_more(self, *, tick: Callable[[], None], interrupted: Callable[[], bool]) -> None:
        """Evaluates and films the final policy and waits for it a while; `tick` is called meanwhile."""
        deadline = time.monotonic() + FINAL_PATIENCE
        asked: Child | None = None
        while self._child is not None and time.monotonic() < deadline and not interrupted():
            if self._child is not asked:
                self._child.send("last")
                asked = self._child
            self._child.pipe.poll(0.2)
            self.listen()
            if self.last is not None and self.last[0] >= self._reporter.steps:
                return
            tick()
        self._warn(
            "the last evaluation was given up; an episode may be very long, --max-episode-length cuts it"
        )

    def end(self) -> None:
        """Ends the test worker now."""
        if self._child is not None:
            self._child.end(patience=0.0)
            self._child = None

    def _file(self, evaluation: Evaluation) -> None:
        self.last = evaluation.steps, evaluation.returns, evaluation.lengths
        self.episodes_done += len(evaluation.returns)
        mean = float(np.mean(evaluation.returns))
        if evaluation.is_best:
            self.best_mean = mean
        self._records.evaluation(
            steps=evaluation.steps, returns=evaluation.returns, lengths=evaluation.lengths
        )
        self._console.classic(
            seconds=evaluation.seconds,
            steps=evaluation.steps,
            fps=(evaluation.steps - self._run.start_steps)
            / max(evaluation.seconds - self._run.elapsed, 1e-9),
            reward=mean,
            length=round(float(np.mean(evaluation.lengths))),
        )
        if evaluation.video is not None:
            self._console.line(f"video of the first episode: {evaluation.video}")
        if evaluation.warning is not None:
            self._warn(evaluation.warning)
