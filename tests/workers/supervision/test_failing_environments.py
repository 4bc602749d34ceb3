"""Environments that fail in every way: replaced where that helps, or one clear failure."""

import sys

import pytest

from tests.workers.runs import RunningMain, flags

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
ENVIRONMENT = """
import ctypes
import os
import time

import gymnasium

from envs.toys import Bandit

DEEDS = {
    "raise": lambda: {}["no such robot"],
    "leave": lambda: os._exit(0),
    "crash": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(1000),
}


class Failing(Bandit):
    def __init__(self, deed, when, n):
        super().__init__()
        self.deed, self.when, self.left = deed, when, n
        self.now("make")

    def now(self, when):
        self.left -= when == self.when
        if self.left == 0:
            DEEDS[self.deed]()

    def reset(self, **how):
        self.now("reset")
        return super().reset(**how)

    def step(self, action):
        self.now("step")
        return super().step(action)


gymnasium.register("Failing-v0", entry_point="failing:Failing")
"""


@pytest.fixture
def train(tmp_path):
    """Train in a folder with the environment above; return the run."""

    def train(deed: str, when: str, n: int, more: str) -> RunningMain:
        (tmp_path / "failing.py").write_text(ENVIRONMENT)
        own = f"--env-name failing:Failing-v0 --env-kwargs deed={deed} when={when} n={n}"
        base = flags(f"{own} --num-processes 2 --eval-interval 0 --video-interval 0 {more}")
        return RunningMain(tmp_path / "run", base=base)

    return train


@pytest.mark.parametrize(
    ("deed", "when", "n", "algo", "cause"),
    [
        ("raise", "step", 1, "a2c", "KeyError: 'no such robot' ("),
        ("raise", "reset", 2, "a3c", "KeyError: 'no such robot' ("),
        ("crash", "step", 1, "a2c", "killed by SIGSEGV"),
    ],
)
def test_what_always_fails_is_one_clear_failure(train, deed, when, n, algo, cause):
    run = train(deed, when, n, f"--algo {algo}")
    assert run.finish() == 1, run.text
    assert f"died in the same way, so that replacing them does not help: {cause}" in run.text
    assert run.text.count("died") <= 2 + run.text.count("the test worker died")
    assert run.status["restarts"] == 2
    assert "Traceback" not in run.text
    if deed == "raise":
        assert "failing.py:11, in " in run.text


@pytest.mark.parametrize("algo", ["a3c", "a2c"])
def test_a_worker_that_leaves_with_exit_code_0_is_replaced(train, algo):
    run = train("leave", "step", 3000, f"--algo {algo} --num-env-steps 20000")
    assert run.finish() == 0, run.text
    assert run.status["restarts"] > 0
    assert run.status["steps"] >= 20000
    assert "died (exit code 0 without an error" in run.text


def test_steps_that_always_hang_are_one_clear_failure(train):
    run = train("hang", "step", 1, "--algo a2c --worker-timeout 3")
    assert run.finish() == 1, run.text
    assert "none has taken a step for 3 s; does reset() or step()" in run.text
