"""Runs with a user's own code: an environment, auxiliary heads."""

import json
import subprocess
import sys

import pytest

from tests.workers.runs import ROOT, RunningMain, flags

ENVIRONMENT = """
import gymnasium

from envs.toys import Bandit


class Mine(Bandit):
    def __init__(self, size):
        super().__init__()
        assert size == 7


gymnasium.register("Mine-v0", entry_point="mine:Mine")
"""
# Names of the project's and the library's modules that a folder may hold.
TAKEN = ("envs", "workers", "main", "enjoy", "random", "copy", "pickle", "tempfile")
SEARCHES = """
import os


class Searches(Mine):
    def __init__(self, size):
        super().__init__(size)
        assert os.environ.get("PYTHONPATH") == "kept", os.environ.get("PYTHONPATH")
        assert "PYTHONSAFEPATH" not in os.environ


gymnasium.register("Searches-v0", entry_point="mine:Searches")
"""
HEADS = """
from a3c.auxiliary import AuxiliaryHead


def error(outputs, segment):
    return (outputs - segment.observations).square().mean()


def heads(spaces):
    size = spaces.observation_shape[0]
    return [AuxiliaryHead(name="copy", side="actor", depth=-1, size=size, loss=error)]
"""


def test_an_environment_of_ones_own_from_another_folder(tmp_path):
    (tmp_path / "mine.py").write_text(ENVIRONMENT)
    base = flags("--env-name mine:Mine-v0 --env-kwargs size=7 --num-processes 2 --eval-interval 0")
    run = RunningMain(tmp_path / "run", "--num-env-steps", "2000", base=base)
    assert run.finish() == 0, run.text
    play = [sys.executable, str(ROOT / "enjoy.py"), *flags("--run-dir run --episodes 1 --json")]
    done = subprocess.run(play, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["lengths"] == [5]


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_folder_with_files_named_like_modules(tmp_path, monkeypatch, method):
    for name in TAKEN:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the working folder')")
    (tmp_path / "a3c").mkdir()
    (tmp_path / "a3c/__init__.py").write_text("raise SystemExit('a3c/ of the working folder')")
    (tmp_path / "mine.py").write_text(ENVIRONMENT + SEARCHES)
    monkeypatch.setenv("PYTHONPATH", "kept")
    base = flags("--env-name mine:Searches-v0 --env-kwargs size=7 --num-processes 1")
    arguments = flags("--num-env-steps 500 --eval-interval 0 --video-interval 0 --start-method")
    run = RunningMain(tmp_path / "run", *arguments, method, base=base)
    assert run.finish() == 0, run.text
    assert run.status["eval_return_mean"] is not None, run.text
    assert "working folder" not in run.text


def test_auxiliary_heads_of_ones_own_learn_beside_the_policy(tmp_path):
    (tmp_path / "mine.py").write_text(HEADS)
    run = RunningMain(
        tmp_path / "run",
        *flags("--auxiliary-heads mine:heads --stop-reward 4.7 --max-seconds 45"),
    )
    assert run.finish() == 0, run.text
    assert run.status["eval_return_mean"] == 5.0
    wrong = RunningMain(tmp_path / "wrong", "--auxiliary-heads", "mine:tails")
    assert wrong.finish() == 2
    assert "is not a function module:function" in wrong.text
    assert "Traceback" not in wrong.text
