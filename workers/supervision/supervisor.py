"""The supervisor: the main process's life while the workers train."""

import shlex
import time
import traceback
from collections.abc import Callable
from multiprocessing.context import BaseContext
from typing import Any

import numpy as np

from workers.exact import CompleteReports, Reports
from workers.records import checkpoint
from workers.records.console import Console
from workers.records.curve import draw_curve
from workers.records.records import Records
from workers.supervision.evaluations import Evaluations
from workers.supervision.interrupts import Interrupts
from workers.supervision.pool import Child, NothingWorks, TooManyFailures, WorkerPool
from workers.supervision.reporter import Reporter
from workers.supervision.run import Run
from workers.trainer import Task, run_worker

STATUS_INTERVAL = 2.0
SAVE_DIR_INTERVAL = 10.0
STOPPING_PATIENCE = 4.0


class Failure(Exception):
    """The run can't go on; one sentence."""


class Supervisor:
    """Starts the processes, watches them, writes everything down, and ends the run for one of its reasons."""

    def __init__(
        self,
        run: Run,
        *,
        context: BaseContext,
        records: Records,
        console: Console,
        interrupts: Interrupts,
    ) -> None:
        self._run, self._config, self._context = run, run.config, context
        self._records, self._console, self._interrupts = records, console, interrupts
        self._reporter = Reporter(run.memory.progress, elapsed=run.elapsed, recent=run.recent)
        self._due = {
            "row": 0.0,
            "status": 0.0,
            "save": SAVE_DIR_INTERVAL,
            "checkpoint": self._config.checkpoint_interval,
        }
        self._segments = {"row": 0, "save": 0}
        self._bound = time.monotonic()
        self._reports = Reports(self._config.num_processes)
        self._pool = WorkerPool(
            start=self._start_worker,
            heartbeats=lambda: run.memory.progress.column("heartbeat"),
            timeout=self._config.worker_timeout,
            max_restarts=self._config.max_restarts,
            tell=self._tell_failure,
            receive=self._reports.add,
        )
        self._evaluations = Evaluations(
            run,
            context=context,
            records=records,
            console=console,
            reporter=self._reporter,
            warn=self._warn,
        )
        self._running, self._told_inexact = False, False

    def run(self) -> int:
        """Trains; returns the exit code."""
        try:
            self._start()
            return self._end(self._watch())
        except (Failure, NothingWorks, TooManyFailures) as problem:
            return self._give_up(str(problem), 3 if isinstance(problem, TooManyFailures) else 1)
        except KeyboardInterrupt:
            self._end_children(patience=0.0)
            self._console.close()
            self._status("interrupted", exit_code=self._interrupts.exit_code)
            return self._interrupts.exit_code
        except Exception as problem:  # a mistake of ours or of the machine: it must not look like a run that goes on
            self._records.log(traceback.format_exc())
            return self._give_up(f"{problem or type(problem).__name__}; see log.txt", 1)
        finally:
            self._end_children(patience=0.0)

    def _start(self) -> None:
        self._status("starting")
        self._evaluations.start()
        self._pool.start(self._config.num_processes)

    def _start_worker(self, worker: int, restarts: int) -> Child:
        run = self._run
        task = Task(
            config=run.config,
            environment=run.environment,
            spaces=run.spaces,
            memory=run.memory,
            worker=worker,
            stream=(run.sittings, restarts),
            log_path=str(run.folder.log),
            program=run.program,
            state=run.worker_states[worker] if restarts == 0 and run.worker_states else None,
        )
        return Child(target=run_worker, task=task, name=f"worker {worker}", context=self._context)

    def _watch(self) -> str:
        """Looks after everything until there is a reason to end; returns it."""
        while True:
            self._pool.wait(0.2, self._evaluations.pipes)
            reason = self._reason_to_end()
            if reason is not None:
                return reason
            self._pool.check()
            self._evaluations.listen()
            self._report()
            self._save_when_due()

    def _reason_to_end(self) -> str | None:
        config, reporter = self._config, self._reporter
        if self._interrupts.received is not None:
            return "interrupted"
        if reporter.steps >= config.num_env_steps:
            return f"reached {reporter.steps:,} steps"
        if (
            config.max_seconds is not None
            and reporter.seconds - self._run.elapsed >= config.max_seconds
        ):
            return f"reached {config.max_seconds:g} seconds"
        if reporter.solved(config.stop_reward):
            return f"reached a training return of {reporter.train_return_mean:.2f}"
        return None

    def _report(self) -> None:
        for return_, length, seconds in self._reporter.new_episodes():
            self._records.episode(return_=return_, length=length, seconds=seconds)
        segments_wanted = self._config.log_interval * self._config.num_processes
        if self._is_due("row", 1.0, segments_wanted):
            self._write_row()
        if not self._running and self._reporter.updates > self._run.start_updates:
            self._running = True
            self._records.log(
                f"first gradient {self._reporter.seconds - self._run.elapsed:.2f} s after the run began"
            )
        if self._is_due("status", STATUS_INTERVAL):
            self._status("running" if self._running else "starting")
        self._console.status(
            seconds=self._reporter.seconds,
            steps=self._reporter.steps,
            steps_target=self._config.num_env_steps,
            steps_per_second=self._reporter.rates()[0],
            train_return_mean=self._reporter.train_return_mean,
            eval_return_mean=self._evaluations.mean,
            policy_lag=self._reporter.lag_mean,
            workers_ready=self._pool.ready,
            workers=self._config.num_processes,
        )

    def _write_row(self) -> None:
        row = self._reporter.row()
        if row is None:
            return
        evaluation = self._evaluations.last
        if evaluation is not None:
            row["eval/mean_reward"] = self._evaluations.mean
            row["eval/mean_ep_length"] = float(np.mean(evaluation[2]))
        row["workers/alive"], row["workers/restarts"] = self._pool.alive, self._pool.restarts
        self._records.metrics(row)

    def _is_due(self, what: str, seconds: float, segments: int = 0) -> bool:
        """Whether both have passed since the last time: `seconds`, and `segments` of all workers together."""
        now, done = time.monotonic() - self._bound, self._run.memory.progress.total("segments")
        if now < self._due[what] or done - self._segments.get(what, 0) < segments:
            return False
        self._due[what], self._segments[what] = now + seconds, done
        return True

    def _status(self, state: str, exit_code: int | None = None) -> None:
        evaluations = self._evaluations
        self._records.status(
            state=state,
            **self._reporter.status(),
            eval_return_mean=evaluations.mean,
            eval_steps=None if evaluations.last is None else evaluations.last[0],
            best_eval_return_mean=None
            if evaluations.best_mean == -np.inf
            else evaluations.best_mean,
            workers_alive=self._pool.alive,
            restarts=self._pool.restarts,
            exit_code=exit_code,
        )

    def _save_when_due(self) -> None:
        config = self._config
        if self._interrupts.checkpoint_wanted or self._is_due(
            "checkpoint", config.checkpoint_interval
        ):
            self._interrupts.checkpoint_wanted = False
            if config.exchange == "barrier":
                self._run.memory.progress.ask_for_reports()
            else:
                self._checkpoint()
        if (reports := self._reports.take()) is not None:
            self._checkpoint(reports)
        if config.save_dir and self._is_due(
            "save", SAVE_DIR_INTERVAL, config.save_interval * config.num_processes
        ):
            self._save_policy()

    def _checkpoint(self, reports: CompleteReports | None = None) -> None:
        """Saves what the workers reported of one moment, or else what they share as it is now."""
        run = self._run
        shared, workers, problem = reports or (None, None, "")
        if problem and not self._told_inexact:
            self._told_inexact = True
            self._warn(f"a resumed run will begin new episodes: {problem}")
        if not run.is_finite():
            raise Failure(
                "the shared parameters are no longer finite; go on with --resume, which takes the last good checkpoint"
            )
        state = run.full_state(
            elapsed=self._reporter.seconds,
            recent=self._reporter.recent,
            best_mean=self._evaluations.best_mean,
            evaluated_episodes=self._evaluations.episodes_done,
            shared=shared,
            workers=workers,
        )
        folder = run.folder.checkpoints
        self._attempt(
            lambda: checkpoint.save(checkpoint.checkpoint_path(folder, state["steps"]), state)
        )
        checkpoint.rotate(folder, keep=self._config.keep_checkpoints)

    def _save_policy(self) -> None:
        path = self._run.policy_path

        def save() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, self._run.policy_state(), with_digest=False)

        self._attempt(save)

    def _attempt(self, save: Callable[[], Any]) -> None:
        try:
            save()
        except (checkpoint.CheckpointError, OSError) as problem:
            self._warn(str(problem))

    def _end(self, reason: str) -> int:
        """Stops the workers, saves, evaluates once more unless interrupted, and says how it went."""
        interrupted = self._interrupts.received is not None
        self._console.line("stopping... (again to quit now)" if interrupted else f"done: {reason}")
        self._run.memory.progress.stop()
        waits = self._config.exchange == "barrier"
        self._pool.end(
            patience=2 * self._config.worker_timeout if waits else STOPPING_PATIENCE, replace=waits
        )
        self._reporter.end()
        self._report()
        self._write_row()
        self._checkpoint(self._reports.take())
        if self._config.save_dir:
            self._save_policy()
        if not interrupted:
            self._console.line("evaluating the last policy... (Ctrl-C does without)")
            self._evaluations.once_more(
                tick=self._report, interrupted=lambda: self._interrupts.received is not None
            )
        self._evaluations.end()
        self._draw_curve()
        self._console.close()
        self._console.line(self._farewell())
        code = self._interrupts.exit_code if interrupted else 0
        self._status("interrupted" if interrupted else "done", exit_code=code)
        return code

    def _give_up(self, reason: str, code: int) -> int:
        self._run.memory.progress.stop()
        self._end_children(patience=1.0)
        if code == 3 and self._run.is_finite():
            self._checkpoint()
        self._console.close()
        self._console.line(f"failed: {reason}")
        self._status("failed", exit_code=code)
        return code

    def _end_children(self, *, patience: float) -> None:
        self._pool.end(patience=patience)
        self._evaluations.end()

    def _draw_curve(self) -> None:
        try:
            draw_curve(self._run.folder, title=self._run.title)
        except Exception as problem:  # a picture is not worth a failed run
            self._warn(f"no curve: {problem}")

    def _farewell(self) -> str:
        folder = shlex.quote(str(self._run.folder.path))
        best_mean = self._evaluations.best_mean
        best = "" if best_mean == -np.inf else f", best evaluation {best_mean:.2f}"
        trained = f"{self._reporter.steps:,} steps in {self._reporter.seconds:,.0f} s{best}"
        return f"{trained}\nplay it:   python enjoy.py --run-dir {folder}\ngo on:     python main.py --resume {folder}"

    def _tell_failure(self, line: str, details: str) -> None:
        self._warn(line)
        if details:
            self._records.log(details)

    def _warn(self, text: str) -> None:
        self._console.warn(text)
