"""The learning curve can be drawn at any moment of a run."""

import math
import os
import sys
from pathlib import Path

import pytest

from workers.records.curve import draw_curve
from workers.records.evaluation import Evaluation
from workers.records.run_folder import RunFolder
from workers.records.statistics import STEPS
from workers.records.writer import Records

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")


@pytest.mark.parametrize("points", [0, 1, 2, 100])
def test_draws_any_number_of_points(tmp_path: Path, points: int) -> None:
    folder = RunFolder.create(run_dir=str(tmp_path / "run"), env_name="Toy-v0", algo="a3c", seed=1)
    record = Records(folder, env_id="Toy-v0", tensorboard=False, append=False, warn=pytest.fail)
    for index in range(points):
        steps = 1000 * (index + 1)
        row = {
            STEPS: steps,
            "time/time_elapsed": 10.0 * index,
            "rollout/ep_rew_mean": index if index else math.nan,
        }
        record.metrics(row)
        record.evaluation(
            Evaluation(steps=steps, returns=(index, index + 2.0), lengths=(1, 2)),
            seconds=10.0 * index,
            updates=index,
        )
    record.close()
    draw_curve(folder, title="Toy-v0, a3c, seed 1")
    with Image.open(folder.curve) as picture:
        assert picture.size == (1200, 700)
        assert len(picture.convert("L").getcolors()) > 10
    assert not [name for name in os.listdir(folder.path) if name.endswith(".tmp")]
    assert "matplotlib.pyplot" not in sys.modules


def test_bare_or_damaged_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    draw_curve(folder, title="nothing")
    folder.metrics_csv.write_bytes(b"\xff\xfe,,\n\x00,1\n")
    folder.evaluations.write_bytes(b"PK\x03\x04")
    draw_curve(folder, title="damaged")
    assert folder.curve.stat().st_size > 1000
