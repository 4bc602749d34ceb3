"""Weights & Biases, for those who asked for it with --track."""

from collections.abc import Mapping
from typing import Any

from workers.records.records import STEPS
from workers.records.run_folder import RunFolder


class TrackingError(Exception):
    """Tracking was asked for and can't be had; one sentence."""


class Tracker:
    """One run on Weights & Biases; without a network, WANDB_MODE=offline keeps it in the run folder."""

    def __init__(
        self, folder: RunFolder, *, project: str, entity: str | None, description: Mapping[str, Any]
    ) -> None:
        """TrackingError if wandb is not installed or refuses."""
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
                f"Weights & Biases refused ({error}); set WANDB_MODE=offline or leave --track out."
            ) from error

    def metrics(self, row: Mapping[str, float | None]) -> None:
        """Sends a row of metrics."""
        self._run.log(
            {key: value for key, value in row.items() if value is not None},
            step=int(row[STEPS] or 0),
        )

    def finish(self, exit_code: int) -> None:
        """Closes the run."""
        self._run.finish(exit_code=exit_code)
