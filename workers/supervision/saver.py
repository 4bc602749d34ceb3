"""What the main process saves while the workers train: checkpoints, and the newest policy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.records import checkpoint
from workers.records.faults import fix, reason
from workers.records.writer import Records
from workers.resume import CompleteReports, Reports
from workers.supervision.evaluations import Evaluations
from workers.supervision.interrupts import Interrupts
from workers.supervision.reporter import Reporter
from workers.supervision.run import Run
from workers.supervision.schedule import Schedule

SAVE_DIR_INTERVAL = 10.0
MOVE_INTERVAL = 30.0  # between attempts to go on in another folder


class NotFinite(Exception):
    """The shared parameters contain NaN or infinity; one sentence."""


class Saver:
    """Writes checkpoints/, and the policy in --save-dir. A full disk, say, is only a warning.

    Without a barrier it saves what the workers share as it is. At a barrier it first asks all
    workers for reports of one moment, from which a resumed run continues exactly. Where the run's
    folder is lost, it lets the run go on in another one.
    """

    def __init__(
        self,
        run: Run,
        *,
        records: Records,
        reporter: Reporter,
        evaluations: Evaluations,
        reports: Reports,
        interrupts: Interrupts,
        warn: Callable[[str], None],
    ) -> None:
        self._run, self._config, self._records = run, run.config, records
        self._reporter, self._evaluations, self._reports = reporter, evaluations, reports
        self._interrupts, self._warn = interrupts, warn
        first = {"checkpoint": self._config.checkpoint_interval, "policy": SAVE_DIR_INTERVAL}
        self._schedule = Schedule(run.memory.progress, first=first | {"move": 0.0})
        self._warned_inexact = False
        self._problem = ""  # of the last checkpoint, if it could not be written

    def save_when_due(self) -> None:
        """Save what is due. NotFinite."""
        config = self._config
        self._records.lost = self._run.folder_fault() or self._records.lost
        if self._records.lost and self._schedule.is_due("move", seconds=MOVE_INTERVAL):
            self._move_if_lost()
        if self._interrupts.checkpoint_wanted or self._schedule.is_due(
            "checkpoint", seconds=config.checkpoint_interval
        ):
            self._interrupts.checkpoint_wanted = False
            if config.exchange == "barrier":
                self._run.memory.progress.ask_for_reports()
            else:
                self._write(self._state(None))
        reports = self._reports.take()
        if reports is not None:
            self._write(self._state(reports))
        segments = config.save_interval * config.num_processes
        if config.save_dir and self._schedule.is_due(
            "policy", seconds=SAVE_DIR_INTERVAL, segments=segments
        ):
            self._save_policy()

    def save_last(self) -> bool:
        """Save after the workers have ended; return whether a checkpoint was written. NotFinite.

        Where the run's folder is full or lost, it is written elsewhere.
        """
        reports = self._reports.take()
        if reports is None and self._config.exchange == "barrier":
            self._warn_inexact("not all workers could complete their segments in time")
        state = self._state(reports)
        saved = self._write(state) or self._move(state)
        if self._config.save_dir:
            self._save_policy()
        return saved

    def save_now(self) -> None:
        """Save a checkpoint of what is there, from which a resumed run begins new episodes."""
        if self._run.is_finite():
            state = self._state(None)
            _ = self._write(state) or self._move(state)

    def save_after_failure(self) -> None:
        """Save a checkpoint if something was learned, and the parameters are finite."""
        if self._reporter.updates > self._run.start_updates:
            self.save_now()

    def account(self) -> tuple[str, bool]:
        """Say in one sentence what of the run is kept and what is not, and whether it resumes."""
        steps = self._reporter.steps
        why = f" ({self._problem})" if self._problem else ""
        try:
            path, state, _ = checkpoint.latest(self._run.folder.checkpoints)
        except checkpoint.CheckpointError:
            return f"no checkpoint was saved{why}", False
        kept: int = state["steps"]
        if kept >= steps:
            return f"all {steps:,} steps are saved in {path.parent}", True
        last = f"the last good checkpoint is {path}"
        return f"only {kept:,} of {steps:,} steps are saved{why}; {last}", True

    def _state(self, reports: CompleteReports | None) -> dict[str, Any]:
        """Return what the workers reported of one moment, or what they share now. NotFinite."""
        run = self._run
        shared, workers, problem = reports or (None, None, "")
        if problem:
            self._warn_inexact(problem)
        self.check_finite()
        return run.full_state(
            elapsed=self._reporter.seconds,
            recent=self._reporter.recent,
            best_mean=self._evaluations.best_mean,
            evaluated_episodes=self._evaluations.episodes_done,
            shared=shared,
            workers=workers,
        )

    def _warn_inexact(self, why: str) -> None:
        if not self._warned_inexact:
            self._warned_inexact = True
            self._warn(f"a resumed run will begin new episodes: {why}")

    def _write(self, state: dict[str, Any]) -> bool:
        """Write a checkpoint into the run's folder; return whether that succeeded."""
        folder = self._run.folder.checkpoints
        path = checkpoint.checkpoint_path(folder, state["steps"])
        if self._config.exchange == "barrier" and "workers" not in state and path.exists():
            return True  # it may be one from which a run resumes exactly

        def save() -> None:
            folder.mkdir(exist_ok=True)
            checkpoint.save(path, state)

        problem = self._attempt(folder, save)
        self._problem = problem or ""
        checkpoint.rotate(folder, keep=self._config.keep_checkpoints)
        return problem is None

    def _move_if_lost(self) -> None:
        """Let the run go on in another folder, unless its own has come back. NotFinite."""
        run, records = self._run, self._records
        records.lost = run.folder_fault() or run.folder.fault()
        if records.lost and not self._move(self._state(None)):
            records.guard.tell(
                run.folder.path,
                f"{run.folder.path} is lost ({records.lost}) and no other place can be written; "
                "training goes on in memory, nothing is kept until one of them can",
            )
            return
        records.guard.worked(run.folder.path)
        if self._config.exchange == "barrier":  # the first checkpoint there was not exact
            run.memory.progress.ask_for_reports()

    def _move(self, state: dict[str, Any]) -> bool:
        """Let the run go on in the first folder that takes a checkpoint; return whether one did."""
        run, lost, is_own = self._run, self._run.folder.path, self._run.folder_fault() is None
        for folder in run.folder.elsewhere(self._config.log_dir):
            try:
                path = checkpoint.checkpoint_path(folder.checkpoints, state["steps"])
                checkpoint.save(path, state)
                run.move_to(folder)
            except (checkpoint.CheckpointError, OSError):
                checkpoint.rotate(folder.checkpoints)
                folder.discard()
                continue
            why = self._records.lost or self._problem
            self._problem = ""
            self._records.move_to(folder, is_own=is_own)
            with self._records.guard(folder.config):
                run.describe()
            self._evaluations.move()
            self._warn(
                f"{lost} could not be written ({why}): from now on everything is kept in "
                f"{folder.path}, which --resume takes"
            )
            return True
        return False

    def check_finite(self) -> None:
        """Raise NotFinite unless all shared parameters are numbers."""
        if self._run.is_finite():
            return
        kept = any(self._run.folder.checkpoints.glob("*.pt"))
        go_on = (
            "go on with --resume, which takes the last good checkpoint" if kept else "begin anew"
        )
        raise NotFinite(
            f"the shared parameters are no longer finite (is --lr {self._config.lr:g} too large?); "
            f"{go_on}, with a smaller --lr or --max-grad-norm"
        )

    def _save_policy(self) -> None:
        path = self._run.policy_path

        def save() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, self._run.policy_state(), with_digest=False)

        self._attempt(path, save, advice=" with --save-dir")

    def _attempt(self, path: Path, save: Callable[[], Any], *, advice: str = "") -> str | None:
        """Save; return the reason why that was impossible and the fix, or None."""
        guard = self._records.guard
        try:
            save()
        except (checkpoint.CheckpointError, OSError) as problem:
            error = problem if isinstance(problem, OSError) else problem.__cause__
            if isinstance(error, OSError):
                guard.failed(path, error, advice=advice)
                return f"{reason(error)}; {fix(error)}"
            guard.tell(path, str(problem))
            return str(problem)
        guard.worked(path)
        return None
