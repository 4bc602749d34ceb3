"""What Weights & Biases is sent."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from workers.records.run_folder import RunFolder
from workers.records.tracking import Tracker


class Recorder:
    """Takes steps as Weights & Biases does: they never go back."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.axes: dict[str, str] = {}
        self._step = 0

    def define_metric(self, name: str, *, step_metric: str) -> None:
        self.axes[name] = step_metric

    def log(self, row: dict[str, Any], step: int | None = None) -> None:
        step = self._step if step is None else step
        assert step >= self._step, "a row that goes back is dropped"
        self._step = step
        self.rows.setdefault(step, {}).update(row)


def test_an_evaluation_that_ends_later_is_not_dropped(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Recorder()
    wandb = SimpleNamespace(init=lambda **settings: run, Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    tracker = Tracker(RunFolder(tmp_path), project="a3c", entity=None, description={})
    tracker.metrics({"time/total_timesteps": 100, "time/fps": 5.0, "train/approx_kl": None})
    tracker.metrics({"time/total_timesteps": 90, "time/time_elapsed": 9, "eval/mean_reward": 3.0})
    tracker.metrics({"time/total_timesteps": 200, "time/fps": 6.0})
    assert run.axes == {"eval/*": "eval/total_timesteps"}
    assert run.rows == {
        100: {
            "time/total_timesteps": 100,
            "time/fps": 5.0,
            "eval/mean_reward": 3.0,
            "eval/total_timesteps": 90,
        },
        200: {"time/total_timesteps": 200, "time/fps": 6.0},
    }
