"""Runs with a user's own code: an environment, auxiliary heads."""

import json
import subprocess
import sys

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
