"""The records of a run have the formats that other tools read.

They survive full disks, and a resumed run continues them.
"""

import csv
import json
import math
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.records import writer
from workers.records.appender import Guard
from workers.records.board import Board
from workers.records.evaluation import Evaluation, read_evaluations
from workers.records.metrics import read_metrics
from workers.records.run_folder import RunFolder
from workers.records.statistics import METRICS, STATUS, STEPS
from workers.records.thinned import Thinned
from workers.records.writer import Records

ROOT = Path(writer.__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(run_dir=str(tmp_path / "run"), env_name="Toy-v0", algo="a3c", seed=1)


def fail(text: str) -> None:
    raise AssertionError(text)


def start(
    folder: RunFolder, *, append: bool = False, tensorboard: bool = False, warn: Any = fail
) -> Records:
    return Records(folder, env_id="Toy-v0", tensorboard=tensorboard, append=append, warn=warn)


def evaluation_of(steps: int) -> Evaluation:
    return Evaluation(steps=steps, returns=(1.0,), lengths=(1,))


def evaluate(record: Records, evaluation: Evaluation) -> None:
    record.evaluation(evaluation, seconds=evaluation.steps / 10, updates=evaluation.steps // 5)


def read_monitor(folder: RunFolder) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Read as Stable-Baselines3 does: one JSON comment, then a CSV table."""
    with open(folder.monitor) as file:
        first = file.readline()
        assert first[0] == "#"
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return json.loads(first[1:]), rows


def test_monitor_has_the_format_of_stable_baselines(folder: RunFolder) -> None:
    record = start(folder)
    for index in range(5):
        record.episode(return_=-20.5 + index, length=900 + index, seconds=1.25 * index)
    record.close()
    header, rows = read_monitor(folder)
    assert header["env_id"] == "Toy-v0"
    assert header["t_start"] > 1.6e9
    assert rows[1] == {"r": -19.5, "l": 901, "t": 1.25}
    assert len(rows) == 5


def test_metrics_csv_and_jsonl(folder: RunFolder) -> None:
    record = start(folder)
    record.metrics(
        {
            STEPS: 123_456_789_012,
            "time/fps": 1000.5,
            "train/policy_loss": math.nan,
            "eval/mean_reward": None,
        }
    )
    record.metrics({STEPS: 123_456_789_112, "train/learning_rate": 1e-4})
    lines = folder.metrics_csv.read_text().splitlines()
    assert lines[0] == ",".join(METRICS)
    assert "123456789012" in lines[1]
    rows = read_metrics(folder.metrics_csv)
    assert rows[1] == {STEPS: 123_456_789_112, "train/learning_rate": 1e-4}
    objects = [json.loads(line) for line in folder.metrics_jsonl.read_text().splitlines()]
    assert objects[0] == {STEPS: 123_456_789_012, "time/fps": 1000.5, "train/policy_loss": None}


def test_evaluations_npz(folder: RunFolder) -> None:
    record = start(folder)
    second = Evaluation(steps=200, returns=(3.0, 4.0), lengths=(30, 40))
    evaluate(record, Evaluation(steps=100, returns=(1.0, 2.0), lengths=(10, 20)))
    evaluate(record, second)
    with np.load(folder.evaluations) as file:
        assert file["timesteps"].tolist() == [100, 200]
        assert file["results"].shape == (2, 2)
        assert file["ep_lengths"].dtype == np.int64
    record = start(folder, append=True)
    evaluate(record, Evaluation(steps=300, returns=(5.0, 6.0, 7.0), lengths=(1, 2, 3)))
    with np.load(folder.evaluations) as file:
        assert np.isnan(file["results"][0, 2])
        assert file["ep_lengths"].shape == (3, 3)
    assert read_evaluations(folder.evaluations)[1] == second


def test_an_evaluation_has_a_row_of_its_own_at_its_policys_steps(folder: RunFolder) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = start(folder, tensorboard=True)
    record.metrics({STEPS: 100, "time/fps": 1.5})
    record.metrics({STEPS: 200, "time/fps": 1.5})  # while the policy of step 150 was evaluated
    evaluate(record, Evaluation(steps=150, returns=(1.0, 2.0), lengths=(10, 20)))
    record.metrics({STEPS: 300, "time/fps": 1.5})
    record.close()
    row = {
        STEPS: 150,
        "time/time_elapsed": 15,
        "train/n_updates": 30,
        "eval/mean_reward": 1.5,
        "eval/mean_ep_length": 15,
    }
    assert [row for row in read_metrics(folder.metrics_csv) if "eval/mean_reward" in row] == [row]
    objects = [json.loads(line) for line in folder.metrics_jsonl.read_text().splitlines()]
    assert objects[2] == row
    events = accumulator.EventAccumulator(str(folder.tensorboard))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("eval/mean_reward")]
    assert points == [(150, 1.5)]
    assert [event.step for event in events.Scalars("time/fps")] == [100, 200, 300]


def test_damaged_evaluations_are_a_warning(folder: RunFolder) -> None:
    folder.evaluations.write_bytes(b"PK\x03\x04 not really")
    warnings: list[str] = []
    record = start(folder, append=True, warn=warnings.append)
    evaluate(record, evaluation_of(1))
    assert "is damaged" in warnings[0] and "is kept up again" in warnings[1]
    assert len(warnings) == 2
    assert len(read_evaluations(folder.evaluations)) == 1


def test_resume_forgets_what_came_after_the_checkpoint(folder: RunFolder) -> None:
    record = start(folder)
    for steps in (100, 200, 300):
        record.metrics({STEPS: steps, "time/fps": 1.5})
        evaluate(record, evaluation_of(steps - 10))
        record.episode(return_=0.0, length=1, seconds=steps / 10)
    record.close()
    with open(folder.metrics_csv, "a") as csv_file, open(folder.metrics_jsonl, "a") as jsonl_file:
        csv_file.write("1,2,3")  # the run was killed while it wrote
        jsonl_file.write('{"time/')
    record = start(folder, append=True)
    record.truncate_after(200, seconds=20.0)
    record.metrics({STEPS: 210})
    record.close()
    kept = [100, 90, 200, 190, 210]
    assert [row[STEPS] for row in read_metrics(folder.metrics_csv)] == kept
    lines = folder.metrics_jsonl.read_text().splitlines()
    assert [json.loads(line)[STEPS] for line in lines] == kept
    evaluations = read_evaluations(folder.evaluations)
    assert [evaluation.steps for evaluation in evaluations] == [90, 190]
    assert [row["t"] for row in read_monitor(folder)[1]] == [10.0, 20.0]


def test_resume_moves_old_columns(folder: RunFolder) -> None:
    folder.metrics_csv.write_text(f"old,time/fps,{STEPS}\n1,2,3\n")
    start(folder, append=True)
    assert folder.metrics_csv.read_text().splitlines()[0] == ",".join(METRICS)
    assert read_metrics(folder.metrics_csv) == [{"time/fps": 2.0, STEPS: 3.0}]


def test_status_has_all_fields_from_the_start(folder: RunFolder) -> None:
    record = start(folder)
    began = time.time() - 1  # a clock may be coarse
    record.status()
    status = json.loads(folder.status.read_text())
    process = {name: status.pop(name) for name in ("pid", "host", "updated")}
    assert status == dict(STATUS)
    assert (process["pid"], process["host"]) == (os.getpid(), socket.gethostname())
    assert began <= process["updated"] <= time.time() + 1
    record.status(state="running", steps=10, train_return_mean=math.nan)
    record.status(exit_code=0)
    status = json.loads(folder.status.read_text())
    assert (status["state"], status["steps"], status["exit_code"]) == ("running", 10, 0)
    assert status["train_return_mean"] is None
    assert list(status) == [*STATUS, "pid", "host", "updated"]


def test_log_has_times(folder: RunFolder) -> None:
    record = start(folder)
    record.log("one\n  two\n")
    lines = folder.log.read_text().splitlines()
    assert lines[0][:2] == "20"
    assert lines[0].endswith(" one")
    assert lines[1] == "  two"


def test_tensorboard_gets_scalars_and_videos(folder: RunFolder) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = start(folder, tensorboard=True)
    record.metrics({STEPS: 100, "time/fps": 5.0, "train/grad_norm": math.nan})
    record.metrics({STEPS: 200, "time/fps": 6.0})
    frames = [np.full((600, 400, 3), index % 256, dtype=np.uint8) for index in range(450)]
    record.close()
    record = start(folder, tensorboard=True, append=True)
    record.truncate_after(100)
    record.metrics({STEPS: 150, "time/fps": 7.0})
    record.close()
    events = accumulator.EventAccumulator(str(folder.tensorboard))
    events.Reload()
    assert "train/grad_norm" not in events.Tags()["scalars"]
    points = sorted((event.step, event.value) for event in events.Scalars("time/fps"))
    assert points[0] == (100, 5.0)
    # A board in another process may share the folder.
    board = Board(folder.path / "other", Guard(fail))
    board.video("video/eval", frames, 100, 30)
    board.flush()
    events = accumulator.EventAccumulator(str(folder.path / "other"))
    events.Reload()
    image = events.Images("video/eval")[0]
    assert image.encoded_image_string[:4] == b"GIF8"
    assert (image.height, image.width) == (200, 134)


@pytest.mark.parametrize("length", [1, 200, 201, 27_000])
def test_thinned_items_are_few_and_evenly_spaced(length: int) -> None:
    thinned: Thinned[int] = Thinned(200)
    for index in range(length):
        thinned.add(index)
    assert thinned.items == [*range(0, length, thinned.stride)]
    assert min(length, 100) <= len(thinned.items) <= 200


def test_a_long_metrics_file_is_read_thinned(folder: RunFolder) -> None:
    record = start(folder)
    for steps in range(1000):
        record.metrics({STEPS: steps})
    record.close()
    steps = [row[STEPS] for row in read_metrics(folder.metrics_csv, at_most=100)]
    assert len(steps) <= 101
    assert steps[0] == 0
    assert steps[-1] == 999
    assert len(read_metrics(folder.metrics_csv)) == 1000


def test_missing_tensorboard_is_one_warning(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    warnings: list[str] = []
    record = start(folder, tensorboard=True, warn=warnings.append)
    record.metrics({STEPS: 1})
    record.metrics({STEPS: 2})
    assert len(warnings) == 1
    assert "pip install tensorboard" in warnings[0]


def test_no_tensorboard_without_being_asked(folder: RunFolder) -> None:
    record = start(folder)
    record.metrics({STEPS: 1})
    assert not folder.tensorboard.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_full_disk_warns_once_a_file_and_loses_nothing(tmp_path: Path) -> None:
    code = """
        import resource, sys
        from workers.records.evaluation import Evaluation
        from workers.records.run_folder import RunFolder
        from workers.records.statistics import STEPS
        from workers.records.writer import Records
        folder = RunFolder.create(run_dir=sys.argv[1], env_name="Toy-v0", algo="a3c", seed=1)
        warnings = []
        def warn(text):
            warnings.append(text)
            record.log(text)
        record = Records(folder, env_id="Toy-v0", tensorboard=True, append=False, warn=warn)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
        for steps in range(100):
            record.metrics({STEPS: steps, "time/fps": 1.0})
            evaluation = Evaluation(steps=steps, returns=(1.0,), lengths=(1,))
            record.evaluation(evaluation, seconds=1.0, updates=2)
            record.episode(return_=1.0, length=10, seconds=steps)
            record.log("x" * 50)
            record.status(steps=steps)
        record.close()
        names = [text.split(" could")[0].rpartition("/")[2] for text in warnings]
        assert len(set(names)) == len(names), names
        expected = {"metrics.csv", "metrics.jsonl", "log.txt", "evaluations.npz", "0.monitor.csv"}
        assert expected <= set(names), names
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        evaluation = Evaluation(steps=100, returns=(1.0,), lengths=(1,))
        record.evaluation(evaluation, seconds=1.0, updates=2)
        record.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    folder = RunFolder.open(str(tmp_path / "run"))
    trained = [row for row in read_metrics(folder.metrics_csv) if "time/fps" in row]
    assert [row[STEPS] for row in trained] == list(range(100))
    assert len(read_metrics(folder.metrics_csv)) == 201
    assert len(folder.metrics_jsonl.read_text().splitlines()) == 201
    assert len(read_monitor(folder)[1]) == 100
    assert len(read_evaluations(folder.evaluations)) == 101
    assert json.loads(folder.status.read_text())["steps"] == 99
