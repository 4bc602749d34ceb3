"""Weights & Biases, for users who pass --track."""

from collections.abc import Mapping
from typing import Any

from workers.records.run_folder import RunFolder
from workers.records.statistics import STEPS

_EVALUATED_STEPS = "eval/total_timesteps"


class TrackingError(Exception):
    """Tracking that was asked for and is not available; one sentence with the fix in it."""


class Tracker:
    """One run on Weights & Biases. With WANDB_MODE=offline it stays in the run folder."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        project: str,
        entity: str | None,
        description: Mapping[str, Any],
    ) -> None:
        """Start the run there. TrackingError if wandb is not installed or refuses."""
        try:
            import wandb
        except ImportError as error:
            raise TrackingError(
                "--track needs Weights & Biases: pip install wandb, or leave the flag out."
            ) from error
        try:
            self._run = wandb.init(
                project=project,
                entity=entity,
                name=folder.path.name,
                dir=folder.path,
                config=dict(description),
                settings=wandb.Settings(silent=True),
            )
        except Exception as error:  # no login, no network, no such project
            raise TrackingError(
                f"Weights & Biases refused ({str(error) or type(error).__name__}); "
                "set WANDB_MODE=offline or leave --track out."
            ) from error
        self._run.define_metric("eval/*", step_metric=_EVALUATED_STEPS)

    def metrics(self, row: Mapping[str, float | None]) -> None:
        """Send a row of metrics.

        Steps never go back there, and those of an evaluation lie before those of the last row. So
        its numbers go into the current step, beside the steps that they are drawn over.
        """
        known = {key: value for key, value in row.items() if value is not None}
        evaluated = {key: value for key, value in known.items() if key.startswith("eval/")}
        if evaluated:
            self._run.log(evaluated | {_EVALUATED_STEPS: known[STEPS]})
        else:
            self._run.log(known, step=int(known[STEPS]))

    def finish(self, exit_code: int) -> None:
        """End the run there."""
        self._run.finish(exit_code=exit_code)
