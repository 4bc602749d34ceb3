"""What the main process saves while the workers train: checkpoints, and the newest policy."""

from collections.abc import Callable
from typing import Any

from workers.records import checkpoint
from workers.resume import CompleteReports, Reports
from workers.supervision.evaluations import Evaluations
from workers.supervision.interrupts import Interrupts
from workers.supervision.reporter import Reporter
from workers.supervision.run import Run
from workers.supervision.schedule import Schedule

SAVE_DIR_INTERVAL = 10.0


class NotFinite(Exception):
    """The shared parameters contain NaN or infinity; one sentence."""


class Saver:
    """Writes checkpoints/, and the policy in --save-dir. A full disk, say, is only a warning.

    Without a barrier it saves what the workers share as it is. At a barrier it first asks all
    workers for reports of one moment, from which a resumed run continues exactly.
    """

    def __init__(
        self,
        run: Run,
        *,
        reporter: Reporter,
        evaluations: Evaluations,
        reports: Reports,
        interrupts: Interrupts,
        warn: Callable[[str], None],
    ) -> None:
        self._run, self._config = run, run.config
        self._reporter, self._evaluations, self._reports = reporter, evaluations, reports
        self._interrupts, self._warn = interrupts, warn
        first = {"checkpoint": self._config.checkpoint_interval, "policy": SAVE_DIR_INTERVAL}
        self._schedule = Schedule(run.memory.progress, first=first)
        self._warned_inexact = False

    def save_when_due(self) -> None:
        """Save what is due. NotFinite."""
        config = self._config
        if self._interrupts.checkpoint_wanted or self._schedule.is_due(
            "checkpoint", seconds=config.checkpoint_interval
        ):
            self._interrupts.checkpoint_wanted = False
            if config.exchange == "barrier":
                self._run.memory.progress.ask_for_reports()
            else:
                self._save_checkpoint(None)
        reports = self._reports.take()
        if reports is not None:
            self._save_checkpoint(reports)
        segments = config.save_interval * config.num_processes
        if config.save_dir and self._schedule.is_due(
            "policy", seconds=SAVE_DIR_INTERVAL, segments=segments
        ):
            self._save_policy()

    def save_last(self) -> None:
        """Save checkpoint and policy after the workers have ended. NotFinite."""
        self._save_checkpoint(self._reports.take())
        if self._config.save_dir:
            self._save_policy()

    def save_now(self) -> None:
        """Save a checkpoint of what is there, from which a resumed run begins new episodes."""
        if self._run.is_finite():
            self._save_checkpoint(None)

    def save_after_failure(self) -> None:
        """Save a checkpoint if something was learned, and the parameters are finite."""
        if self._reporter.updates > self._run.start_updates:
            self.save_now()

    def _save_checkpoint(self, reports: CompleteReports | None) -> None:
        """Save what the workers reported of one moment, or else what they share now. NotFinite."""
        run = self._run
        shared, workers, problem = reports or (None, None, "")
        if problem and not self._warned_inexact:
            self._warned_inexact = True
            self._warn(f"a resumed run will begin new episodes: {problem}")
        self.check_finite()
        state = run.full_state(
            elapsed=self._reporter.seconds,
            recent=self._reporter.recent,
            best_mean=self._evaluations.best_mean,
            evaluated_episodes=self._evaluations.episodes_done,
            shared=shared,
            workers=workers,
        )
        folder = run.folder.checkpoints
        path = checkpoint.checkpoint_path(folder, state["steps"])
        if workers is None and self._config.exchange == "barrier" and path.exists():
            return  # it may be one from which a run resumes exactly
        self._attempt(lambda: checkpoint.save(path, state))
        checkpoint.rotate(folder, keep=self._config.keep_checkpoints)

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

        self._attempt(save)

    def _attempt(self, save: Callable[[], Any]) -> None:
        try:
            save()
        except (checkpoint.CheckpointError, OSError) as problem:
            self._warn(str(problem))
