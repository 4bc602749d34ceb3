"""A run can be built from Python, as main.py builds it."""

import pytest

from tests.workers.runs import flags
from workers.records.run_folder import RunFolderError
from workers.settings.errors import UsageError
from workers.supervision.launch import prepare

BANDIT = flags("--env-name envs.toys:Bandit-v0 --num-processes 2")


def test_prepare_builds_what_the_arguments_say(tmp_path):
    run = prepare([*BANDIT, "--algo", "a2c", "--run-dir", str(tmp_path / "run"), "--lr", "0.5"])
    assert run.config.lr == 0.5
    assert run.origins["lr"] == "flag"
    assert not run.resumed
    assert run.spaces.num_actions == 3
    assert run.parameters.numel() == run.num_parameters
    assert run.memory.barrier is not None
    assert run.folder.checkpoints.is_dir()
    tasks = [run.task(worker) for worker in range(2)]
    assert [task.worker for task in tasks] == [0, 1]
    assert [task.stream for task in tasks] == [(0, 0), (0, 0)]
    assert run.task(1, restarts=3).stream == (0, 3)
    run.close()


def test_prepare_refuses_a_folder_in_use_and_an_unknown_flag(tmp_path):
    run = prepare([*BANDIT, "--run-dir", str(tmp_path / "run")])
    with pytest.raises(RunFolderError, match="is not empty"):
        prepare([*BANDIT, "--run-dir", str(tmp_path / "run")])
    run.close()
    with pytest.raises(UsageError, match="--no-such-flag"):
        prepare([*BANDIT, "--no-such-flag"])
