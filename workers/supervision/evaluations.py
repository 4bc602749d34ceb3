"""The main process's side of the test worker: replaces it if it dies, records its reports."""

import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from workers.evaluator import LONG_WORK, EvaluationReport, EvaluatorTask, run_evaluator
from workers.films import FilmReport
from workers.records.console import Console
from workers.records.evaluation import Evaluation
from workers.records.writer import Records
from workers.supervision.child import Child
from workers.supervision.reporter import Reporter
from workers.supervision.run import Run

MAX_FAILURES = 3  # in a row; then there are no more evaluations
MAX_FAILED_FILMS = 2  # in a row; then there are no more films
FORGIVEN_AFTER = 600.0  # seconds that a test worker has lived
FINAL_PATIENCE = 120.0  # seconds for the last evaluation, and as many for its film
ENDING_PATIENCE = 3.0  # seconds in which it may close its environments


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
        self._failures = self._failed_films = 0
        self._child: Child | None = None
        self._filming = False
        self._looked = self._grace = time.monotonic()

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
            films=self._failed_films < MAX_FAILED_FILMS,
        )
        self._filming = False
        run.memory.progress.tester_heartbeat = time.monotonic_ns() + int(LONG_WORK * 1e9)
        self._child = Child(
            target=run_evaluator, task=task, name="test worker", context=run.context
        )

    def listen(self) -> None:
        """Record the reports that have arrived, and replace a test worker that is dead or hangs."""
        child = self._child
        if child is None:
            return
        is_alive = child.process.is_alive()
        self._read(child)
        if not is_alive:
            self._replace(child, child.cause_of_death().words)
        elif self._hangs():
            self._replace(child, f"no step for {self._run.config.worker_timeout:g} s")

    def last_score(self, *, tick: Callable[[], None], interrupted: Callable[[], bool]) -> None:
        """Evaluate the final policy: wait at most two minutes, and call `tick` meanwhile."""
        asked: Child | None = None

        def is_missing() -> bool:
            nonlocal asked
            if self._child is not None and self._child is not asked:
                asked = self._child
                asked.send("last")
            return self.last is None or self.last.steps < self._reporter.steps

        if self._wait_while(is_missing, tick=tick, interrupted=interrupted):
            self._warn(
                f"the last evaluation was given up after {FINAL_PATIENCE:g} s, so that the last "
                "policy has no score; an episode may be very long, --max-episode-length cuts it"
            )

    def last_film(self, *, tick: Callable[[], None], interrupted: Callable[[], bool]) -> None:
        """Wait at most two minutes for the film of the final policy, and call `tick` meanwhile."""
        if self._wait_while(lambda: self._filming, tick=tick, interrupted=interrupted):
            self._warn(
                f"the last policy's video was given up after {FINAL_PATIENCE:g} s of drawing; "
                "its score is kept, and --video-interval 0 films nothing"
            )

    def end(self, *, patience: float = ENDING_PATIENCE) -> None:
        """Let the test worker close its environments and end, and record what it still says."""
        child, self._child = self._child, None
        if child is not None:
            child.send("end")
            child.join(patience)
            self._read(child)
            child.end(patience=0.0)

    def move(self) -> None:
        """Start the test worker anew, for the folder that the run has now."""
        if self._child is not None:
            self.end(patience=1.0)
            self.start()

    def _wait_while(
        self,
        is_missing: Callable[[], bool],
        *,
        tick: Callable[[], None],
        interrupted: Callable[[], bool],
    ) -> bool:
        """Listen while something is missing; return whether it was given up for the time."""
        deadline = time.monotonic() + FINAL_PATIENCE
        while is_missing():
            if self._child is None or interrupted():
                return False
            if time.monotonic() >= deadline:
                return True
            self._child.pipe.poll(0.2)
            self.listen()
            tick()
        return False

    def _hangs(self) -> bool:
        now, timeout = time.monotonic(), self._run.config.worker_timeout
        if now - self._looked > timeout / 2:
            # This process itself was stopped, and perhaps the test worker with it.
            self._grace = now
        self._looked = now
        last_sign = max(self._run.memory.progress.tester_heartbeat / 1e9, self._grace)
        return now - last_sign > timeout

    def _replace(self, child: Child, cause: str) -> None:
        """Kill what is left of the test worker, and start another one unless they keep failing."""
        child.end(patience=0.0)
        self._child = None
        if time.monotonic() - child.started > FORGIVEN_AFTER:
            self._failures = 0
        self._failures += 1
        self._failed_films += self._filming
        cause = f"filming, {cause}" if self._filming else cause
        if self._failures >= MAX_FAILURES:
            then = f"{MAX_FAILURES} times in a row now, so there are no more evaluations"
        elif self._filming and self._failed_films == MAX_FAILED_FILMS:
            then = "replaced, and there are no more videos"
        else:
            then = "replaced"
        self._warn(f"the test worker died ({cause}): {then}, training goes on")
        if self._failures < MAX_FAILURES:
            self.start()

    def _read(self, child: Child) -> None:
        for message in child.messages():
            if isinstance(message, EvaluationReport):
                self._record(message)
                child.send("draw")
            elif isinstance(message, FilmReport):
                self._record_film(message)
            else:
                child.last_words += message
                self._records.log(message)

    def _record(self, report: EvaluationReport) -> None:
        self._failures, self._filming = 0, report.film_follows
        self.last = evaluation = report.evaluation
        self.episodes_done += len(evaluation.returns)
        if report.is_best:
            self.best_mean = evaluation.mean
        seconds = min(report.seconds, self._reporter.seconds)  # that clock may have stopped
        self._records.evaluation(evaluation, seconds=seconds, updates=report.updates)
        steps = evaluation.steps - self._run.start_steps  # of this sitting
        self._console.classic(
            seconds=seconds,
            steps=evaluation.steps,
            fps=steps / max(seconds - self._run.elapsed, 1e-9),
            reward=evaluation.mean,
            length=round(evaluation.mean_length),
        )
        if report.notice is not None:
            self._warn(report.notice)
        if report.warning is not None:
            self._records.guard.tell(self._run.folder.best, report.warning)
        elif report.is_best:
            self._records.guard.worked(self._run.folder.best)

    def _record_film(self, report: FilmReport) -> None:
        self._filming, self._failed_films = False, 0
        if report.path is not None:
            line = f"video of the first episode: {report.path}   (return {report.return_:.6g})"
            self._console.line(line)
        if report.warning is not None:
            self._records.guard.tell(self._run.folder.videos, report.warning)
