"""The main process's side of the test worker: replaces it if it dies, records its reports."""

import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from workers.evaluator import EvaluationReport, EvaluatorTask, run_evaluator
from workers.records.console import Console
from workers.records.evaluation import Evaluation
from workers.records.writer import Records
from workers.supervision.child import Child
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
        records: Records,
        console: Console,
        reporter: Reporter,
        warn: Callable[[str], None],
    ) -> None:
        self._run, self._records, self._console = run, records, console
        self._reporter, self._warn = reporter, warn
        self.last: Evaluation | None = records.last_evaluation
        self.best_mean, self.episodes_done = run.best_mean, run.evaluated_episodes
        self._failures = 0
        self._child: Child | None = None

    @property
    def pipes(self) -> list[Connection]:
        """They become readable when a report arrives."""
        return [] if self._child is None else [self._child.pipe]

    def start(self) -> None:
        """Start the test worker."""
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
            target=run_evaluator, task=task, name="test worker", context=run.context
        )

    def listen(self) -> None:
        """Record the reports that have arrived, and replace a test worker that is dead or hangs."""
        child = self._child
        if child is None:
            return
        for message in child.messages():
            if isinstance(message, EvaluationReport):
                self._record(message)
                child.send("draw")
            else:
                self._records.log(message)
        if not child.process.is_alive():
            self._replace(child, child.cause_of_death().words)
        elif self._hangs():
            self._replace(child, f"no step for {self._run.config.worker_timeout:g} s")

    def once_more(self, *, tick: Callable[[], None], interrupted: Callable[[], bool]) -> None:
        """Evaluate and film the final policy.

        Wait at most two minutes for that, and call `tick` meanwhile.
        """
        deadline = time.monotonic() + FINAL_PATIENCE
        asked: Child | None = None
        while self._child is not None and time.monotonic() < deadline and not interrupted():
            if self._child is not asked:
                self._child.send("last")
                asked = self._child
            self._child.pipe.poll(0.2)
            self.listen()
            if self.last is not None and self.last.steps >= self._reporter.steps:
                return
            tick()
        self._warn(
            "the last evaluation was given up; "
            "an episode may be very long, --max-episode-length cuts it"
        )

    def end(self) -> None:
        """End the test worker now."""
        if self._child is not None:
            self._child.end(patience=0.0)
            self._child = None

    def _hangs(self) -> bool:
        heartbeat = self._run.memory.progress.tester_heartbeat
        silence = time.monotonic() - heartbeat / 1e9
        return heartbeat > 0 and silence > self._run.config.worker_timeout

    def _replace(self, child: Child, cause: str) -> None:
        self._failures += 1
        gives_up = self._failures == MAX_FAILURES
        then = "no more evaluations" if gives_up else "replaced"
        self._warn(f"the test worker died ({cause}): {then}, training goes on")
        child.end(patience=0.0)
        self._child = None
        if not gives_up:
            self.start()

    def _record(self, report: EvaluationReport) -> None:
        self.last = evaluation = report.evaluation
        self.episodes_done += len(evaluation.returns)
        if report.is_best:
            self.best_mean = evaluation.mean
        self._records.evaluation(evaluation)
        steps = evaluation.steps - self._run.start_steps  # of this sitting
        self._console.classic(
            seconds=report.seconds,
            steps=evaluation.steps,
            fps=steps / max(report.seconds - self._run.elapsed, 1e-9),
            reward=evaluation.mean,
            length=round(evaluation.mean_length),
        )
        if report.video is not None:
            self._console.line(f"video of the first episode: {report.video}")
        if report.warning is not None:
            self._warn(report.warning)
