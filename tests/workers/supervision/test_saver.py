"""What is said where nothing can be saved for a while."""

import io
import shutil
import types

import pytest

from tests.workers.runs import flags
from workers.records.console import Console
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


def test_a_lost_folder_is_told_once_and_so_is_its_return(run, monkeypatch):
    monkeypatch.setattr(saver_module, "MOVE_INTERVAL", 0.0)
    monkeypatch.setattr(RunFolder, "elsewhere", lambda self, log_dir: iter(()))
    lines, console = [], Console(stream=io.StringIO())
    records = Records(run.folder, env_id="x", tensorboard=False, append=False, warn=lines.append)
    parts = {
        "records": records,
        "reporter": Reporter(run.memory.progress, elapsed=0.0, recent=[]),
        "warn": lines.append,
    }
    saver = Saver(
        run,
        evaluations=Evaluations(run, console=console, **parts),
        reports=Reports(1),
        interrupts=types.SimpleNamespace(received=None, checkpoint_wanted=False),
        **parts,
    )
    shutil.rmtree(run.folder.path)
    for _ in range(3):
        saver.save_when_due()
    (lost,) = lines
    assert "run is lost (no such file or directory) and no other place can be written" in lost
    run.folder.path.mkdir()
    for _ in range(3):
        saver.save_when_due()
    assert lines[1:] == [f"{run.folder.path} is kept up again."]
