"""What becomes of a run whose folder is lost, as its main process sees it."""

import io
import shutil
import sys
import types

import pytest

from tests.workers.runs import flags
from workers.records.console import Console
from workers.records.folder_lock import hold
from workers.records.run_folder import RunFolder
from workers.records.writer import Records
from workers.resume import Reports
from workers.supervision import saver as saver_module
from workers.supervision.evaluations import Evaluations
from workers.supervision.launch import prepare, warm_up
from workers.supervision.reporter import Reporter
from workers.supervision.saver import Saver


@pytest.fixture
def run(tmp_path):
    warm_up([])
    base = flags("--env-name envs.toys:Bandit-v0 --num-processes 1 --save-dir= --run-dir")
    run = prepare([*base, str(tmp_path / "run")])
    yield run
    run.close()


@pytest.fixture
def lines():
    return []


@pytest.fixture
def saver(run, lines):
    parts = {
        "records": Records(
            run.folder, env_id="x", tensorboard=False, append=False, warn=lines.append
        ),
        "reporter": Reporter(run.memory.progress, elapsed=0.0, recent=[]),
        "warn": lines.append,
    }
    return Saver(
        run,
        evaluations=Evaluations(run, console=Console(stream=io.StringIO()), **parts),
        reports=Reports(1),
        interrupts=types.SimpleNamespace(received=None, checkpoint_wanted=False),
        **parts,
    )


def test_a_lost_folder_is_told_once_and_so_is_its_return(run, saver, lines, monkeypatch):
    monkeypatch.setattr(saver_module, "MOVE_INTERVAL", 0.0)
    monkeypatch.setattr(RunFolder, "elsewhere", lambda self, log_dir: iter(()))
    shutil.rmtree(run.folder.path)
    for _ in range(3):
        saver.save_when_due()
    (lost,) = lines
    assert "run is lost (no such file or directory) and no other place can be written" in lost
    run.folder.path.mkdir()
    for _ in range(3):
        saver.save_when_due()
    assert lines[1:] == [f"{run.folder.path} is kept up again."]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of files")
def test_a_run_whose_folder_another_one_has_taken_leaves_its_records_alone(run, saver, lines):
    lost = run.folder
    shutil.rmtree(lost.path)
    lost.path.mkdir()
    with hold(lost):
        lost.metrics_csv.write_text("another run's\n")
        saver.save_when_due()
        assert run.folder.path == lost.path.with_name("run-moved")
        assert "(another run has begun there): from now on everything is kept in" in lines[0]
        assert "another" not in run.folder.metrics_csv.read_text()
        assert lost.metrics_csv.read_text() == "another run's\n"
