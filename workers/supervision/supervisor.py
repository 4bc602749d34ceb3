"""The supervisor: the main process's life while the workers train."""

import dataclasses
import shlex
import traceback

import numpy as np

from envs.reasons import reason
from workers.invocation import Invocation
from workers.records import statistics
from workers.records.console import Console
from workers.records.curve import draw_curve
from workers.records.statistics import Progress
from workers.records.writer import Records
from workers.resume import Reports
from workers.supervision.child import Child
from workers.supervision.evaluations import Evaluations
from workers.supervision.interrupts import Interrupts
from workers.supervision.mailbox import Mailbox
from workers.supervision.pool import NothingWorks, TooManyFailures, WorkerPool
from workers.supervision.reporter import Reporter
from workers.supervision.run import Run
from workers.supervision.saver import NotFinite, Saver
from workers.supervision.schedule import Schedule
from workers.supervision.stopping import stop_at_barrier
from workers.supervision.wording import words
from workers.worker import run_worker

STATUS_INTERVAL = 2.0
ROW_INTERVAL = 1.0
STOPPING_PATIENCE = 4.0
LAST_PATIENCE = 2.0  # seconds in which a process must end after its worker has finished


class Supervisor:
    """Starts the processes, watches them, writes the records, and ends the run."""

    def __init__(
        self,
        run: Run,
        *,
        records: Records,
        console: Console,
        interrupts: Interrupts,
    ) -> None:
        self._run, self._config = run, run.config
        self._records, self._console, self._interrupts = records, console, interrupts
        progress = run.memory.progress
        self._reporter = Reporter(progress, elapsed=run.elapsed, recent=run.recent)
        self._schedule = Schedule(progress, first={"row": 0.0, "status": 0.0})
        reports = Reports(self._config.num_processes)
        self._mailbox = Mailbox(reports, warn=console.warn, log=records.log)
        self._pool = WorkerPool(
            start=self._start_worker,
            progress=progress,
            timeout=self._config.worker_timeout,
            max_restarts=self._config.max_restarts,
            tell=self._report_failure,
            receive=self._mailbox.take,
        )
        self._evaluations = Evaluations(
            run,
            records=records,
            console=console,
            reporter=self._reporter,
            warn=console.warn,
        )
        self._saver = Saver(
            run,
            records=records,
            reporter=self._reporter,
            evaluations=self._evaluations,
            reports=reports,
            interrupts=interrupts,
            warn=console.warn,
        )
        self._running = False

    def run(self) -> int:
        """Train; return the exit code."""
        try:
            self._start()
            return self._end(self._watch())
        except TooManyFailures as problem:
            return self._fail(self._with_log(problem), 3)
        except NothingWorks as problem:
            return self._fail(self._with_log(problem), 1)
        except NotFinite as problem:
            return self._fail(str(problem), 1)
        except KeyboardInterrupt:
            self._end_children(patience=0.0)
            self._console.close()
            self._console.line(self._account())
            self._write_status("interrupted", exit_code=self._interrupts.exit_code)
            return self._interrupts.exit_code
        except Exception as problem:
            # A mistake in the program or a fault of the machine. The run must be marked as failed.
            self._records.log(traceback.format_exc())
            return self._fail(self._with_log(problem), 1)
        finally:
            self._end_children(patience=0.0)

    def _start(self) -> None:
        self._write_status("starting")
        self._evaluations.start()
        self._pool.start(self._config.num_processes)

    def _start_worker(self, worker: int, restarts: int) -> Child:
        if restarts:  # all workers die of parameters that are not finite
            self._saver.check_finite()
        return Child(
            target=run_worker,
            task=self._run.task(worker, restarts=restarts),
            name=f"worker {worker}",
            context=self._run.context,
        )

    def _watch(self) -> str:
        """Supervise the run until there is a reason to end it; return the reason."""
        while True:
            self._pool.wait(0.2, self._evaluations.pipes)
            if self._mailbox.refused:
                raise NothingWorks(self._mailbox.refused)
            reason = self._reason_to_end()
            if reason is not None:
                return reason
            self._pool.check()
            self._evaluations.listen()
            self._report()
            self._saver.save_when_due()

    def _reason_to_end(self) -> str | None:
        config, reporter = self._config, self._reporter
        seconds = reporter.seconds - self._run.elapsed
        if self._interrupts.received is not None:
            return "interrupted"
        if reporter.steps >= config.num_env_steps:
            return f"reached {reporter.steps:,} steps"
        if config.max_seconds is not None and seconds >= config.max_seconds:
            return f"reached {config.max_seconds:g} seconds"
        if reporter.solved(config.stop_reward):
            return f"reached a training return of {reporter.train_return_mean:.2f}"
        return None

    def _report(self) -> None:
        """Write the episodes, rows and status that are due, and draw the status line."""
        for return_, length, seconds in self._reporter.new_episodes():
            self._records.episode(return_=return_, length=length, seconds=seconds)
        segments = self._config.log_interval * self._config.num_processes
        if self._schedule.is_due("row", seconds=ROW_INTERVAL, segments=segments):
            self._write_row()
        if not self._running and self._reporter.updates > self._run.start_updates:
            self._running = True
            seconds = self._reporter.seconds - self._run.elapsed
            self._records.log(f"first gradient {seconds:.2f} s after the run began")
        if self._schedule.is_due("status", seconds=STATUS_INTERVAL):
            self._write_status("running" if self._running else "starting")
        self._draw_status_line()

    def _draw_status_line(self) -> None:
        progress = self._completed(self._reporter.progress())
        self._console.status(
            seconds=progress.seconds,
            steps=progress.counters["steps"],
            steps_target=self._config.num_env_steps,
            steps_per_second=progress.steps_per_second,
            workers_ready=self._pool.ready,
            workers=self._config.num_processes,
            **statistics.live_numbers(progress),
        )

    def _write_row(self) -> None:
        progress = self._reporter.progress_for_row()
        if progress is not None:
            self._records.metrics(statistics.metrics_row(self._completed(progress)))

    def _write_status(self, state: str, exit_code: int | None = None) -> None:
        progress = self._completed(self._reporter.progress())
        self._records.status(state=state, **statistics.status_fields(progress), exit_code=exit_code)

    def _completed(self, progress: Progress) -> Progress:
        """Add what the progress table does not contain: evaluations, processes, the last speed."""
        evaluations, at_last = self._evaluations, self._reporter.steps_per_second_at_last
        return dataclasses.replace(
            progress,
            steps_per_second=progress.steps_per_second if at_last is None else at_last,
            evaluation=evaluations.last,
            best_eval_return_mean=self._best_mean,
            workers_alive=self._pool.alive,
            restarts=self._pool.restarts,
        )

    @property
    def _best_mean(self) -> float | None:
        best_mean = self._evaluations.best_mean
        return None if best_mean == -np.inf else best_mean

    def _end(self, reason: str) -> int:
        """Stop the workers, save, evaluate once more unless interrupted; return the exit code."""
        interrupted = self._interrupts.received is not None
        self._console.line("stopping... (again to quit now)" if interrupted else f"done: {reason}")
        self._stop_workers()
        self._reporter.end()
        self._report()
        self._write_row()
        saved = self._saver.save_last()
        if not interrupted:
            self._evaluate_last()
        self._evaluations.end()
        code, state = 0 if saved else 1, "done" if saved else "failed"
        if interrupted:
            code, state = self._interrupts.exit_code, "interrupted"
        # Before the picture, because a scheduler may have little patience.
        self._write_status(state, exit_code=code)
        self._draw_curve()
        self._console.close()
        self._console.line(self._farewell())
        return code

    def _evaluate_last(self) -> None:
        """Evaluate the last policy, and write its score before it is filmed."""

        def interrupted() -> bool:
            return self._interrupts.received is not None

        self._console.line("evaluating the last policy... (Ctrl-C does without)")
        self._evaluations.last_score(tick=self._report, interrupted=interrupted)
        self._write_status("running")
        self._evaluations.last_film(tick=self._report, interrupted=interrupted)

    def _stop_workers(self) -> None:
        """Let the workers finish their segments, and end them."""
        self._run.memory.progress.stop()
        patience = STOPPING_PATIENCE
        if self._config.exchange == "barrier":
            stop_at_barrier(
                self._pool,
                self._run.memory.progress,
                patience=2 * self._config.worker_timeout,
                hurried=lambda: self._interrupts.received is not None,
                save=self._saver.save_now,
            )
            patience = LAST_PATIENCE if self._run.memory.progress.finished.all() else 0.0
        self._pool.end(patience=patience)

    def _fail(self, reason: str, code: int) -> int:
        """Save what was learned, and end the run for a failure; return the exit code."""
        self._run.memory.progress.stop()
        try:
            self._end_children(patience=1.0)
            self._saver.save_after_failure()
        except Exception as problem:  # what ended the run may keep it from doing this, too
            self._records.log(traceback.format_exc())
            self._console.warn(f"the last steps could not be saved: {words(problem)}")
        self._console.close()
        self._console.line(f"failed: {reason}\n{self._account()}")
        self._write_status("failed", exit_code=code)
        return code

    def _with_log(self, problem: Exception) -> str:
        return f"{words(problem).rstrip('.')}; see {self._run.folder.log}"

    def _end_children(self, *, patience: float) -> None:
        self._pool.end(patience=patience)
        self._evaluations.end(patience=patience)

    def _draw_curve(self) -> None:
        try:
            draw_curve(self._run.folder, title=self._run.title)
        except Exception as problem:  # a picture must not fail the run
            self._console.warn(f"no curve: {reason(problem)}")

    def _farewell(self) -> str:
        best = "" if self._best_mean is None else f", best evaluation {self._best_mean:.2f}"
        done = f"{self._reporter.steps:,} steps in {self._reporter.seconds:,.0f} s{best}"
        return f"{done}\n{self._account()}"

    def _account(self) -> str:
        """Say what is kept, and the commands that play the run and go on with it, if they would."""
        kept, resumes = self._saver.account()
        invocation, folder = Invocation.here(), self._run.folder
        path = shlex.quote(str(folder.path))
        play = f"play it:   {invocation.play} --run-dir {path}"
        go_on = f"go on:     {invocation.train} --resume {path}"
        plays = resumes or folder.best.exists()
        return "\n".join([kept] + [play] * plays + [go_on] * resumes)

    def _report_failure(self, line: str, details: str) -> None:
        if line:
            self._console.warn(line)
        if details:
            self._records.log(details)
