"""The example trains as its docstring says, and reaches the environment's best return."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from gymnasium.utils.env_checker import check_env

from envs.ids import resolve
from envs.make import make
from examples import own_environment

ROOT = Path(__file__).parents[2]
NAME = "examples.own_environment:Catch-v0"


def test_it_learns_to_catch_every_ball(tmp_path):
    program = [sys.executable, str(ROOT / "examples" / "own_environment.py")]
    finished = subprocess.run(
        [*program, "--run-dir", "run"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    run = tmp_path / "run"
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["restarts"]) == ("done", 0)
    assert status["train_return_mean"] > 0.9
    assert status["eval_return_mean"] == 1.0
    in_docstring = own_environment.__doc__.partition("is short for")[2].partition("and takes")[0]
    command = [*shlex.split(in_docstring), "--run-dir", "run"]
    assert shlex.split((run / "command.txt").read_text()) == command


@pytest.mark.parametrize(("towards", "expected"), [(True, 1.0), (False, -1.0)])
def test_a_ball_is_caught_by_walking_towards_it(towards, expected):
    env = make(resolve(NAME), training=True)
    for seed in range(30):
        observation, _ = env.reset(seed=seed)
        steps, terminated = 0, False
        while not terminated:
            assert observation in env.observation_space
            right = observation[0] > 0
            left = observation[0] < 0
            action = 1 + int(right) - int(left) if towards else 2 * int(not right)
            observation, reward, terminated, truncated, _ = env.step(action)
            assert not truncated
            steps += 1
        assert (steps, reward) == (4, expected)
    env.close()


def test_it_passes_gymnasiums_own_check():
    check_env(own_environment.Catch(), skip_render_check=True)
