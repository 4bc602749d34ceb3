"""Whole runs at the barrier: the same bits every time, however often they are stopped; and what happens when a worker dies."""

import os
import signal
import sys
import time

import pytest
import torch

from tests.workers.runs import RunningMain, is_gone, wait_until
from workers import checkpoint

BANDIT = ("--env-name", "envs.toys:Bandit-v0", "--eval-interval", "0", "--video-interval", "0", "--eval-episodes", "1")
HOPPER = ("--env-name", "Hopper-v4", *BANDIT[2:])
SETTINGS = {
    "a2c": (*BANDIT, "--algo", "a2c", "--num-processes", "3", "--num-env-steps", "15000"),
    "ppo": (*HOPPER, "--algo", "ppo", "--num-processes", "2", "--num-env-steps", "8192", "--ppo-epoch", "2"),
    "ppo with a GRU": (
        *("--env-name", "envs.toys:Recall-v0", *BANDIT[2:], "--algo", "ppo", "--num-processes", "2", "--num-env-steps", "6000"),
        *("--envs-per-process", "4", "--recurrent-policy", "--target-kl", "0.02"),
    ),
}


def final(run: RunningMain) -> dict:
    _, state, warnings = checkpoint.latest(run.folder / "checkpoints")
    assert not warnings
    return state


def assert_same(a: dict, b: dict) -> None:
    assert a["counters"] == b["counters"]
    for name in ("parameters", "statistics"):
        assert torch.equal(a[name], b[name])
    assert torch.equal(a["rows"]["normaliser"], b["rows"]["normaliser"])


@pytest.mark.parametrize("name", SETTINGS)
def test_runs_of_one_seed_end_with_the_same_bits_also_when_one_is_stopped_and_resumed(tmp_path, name):
    whole, stopped = (RunningMain(tmp_path / part, base=SETTINGS[name]) for part in ("whole", "stopped"))
    stopped.wait_for(1000)
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.finish() == 130, stopped.text
    middle = stopped.status["steps"]
    resumed = RunningMain(tmp_path / "stopped", resume=True)
    assert whole.finish() == 0, whole.text
    assert resumed.finish() == 0, resumed.text
    assert 0 < middle < resumed.status["steps"]
    assert_same(final(whole), final(resumed))


def test_a_run_killed_without_warning_goes_on_from_its_checkpoint_with_the_same_bits(tmp_path):
    settings = (*HOPPER, "--algo", "a2c", "--num-processes", "2", "--num-env-steps", "60000")
    killed = RunningMain(tmp_path / "killed", "--checkpoint-interval", "1", base=settings)
    folder = tmp_path / "killed" / "checkpoints"
    wait_until(lambda: folder.exists() and any(folder.glob("*.pt")), 30, killed)
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    resumed, whole = RunningMain(tmp_path / "killed", resume=True), RunningMain(tmp_path / "whole", base=settings)
    assert resumed.finish() == 0, resumed.text
    assert whole.finish() == 0, whole.text
    assert_same(final(whole), final(resumed))


def test_one_worker_gives_the_same_numbers_with_either_exchange(tmp_path):
    base = (*HOPPER, "--num-processes", "1", "--num-env-steps", "3000", "--envs-per-process", "1")
    barrier, hogwild = (RunningMain(tmp_path / name, "--exchange", name, base=base) for name in ("barrier", "hogwild"))
    assert barrier.finish() == 0, barrier.text
    assert hogwild.finish() == 0, hogwild.text
    for name in ("parameters", "statistics"):
        assert torch.equal(final(barrier)[name], final(hogwild)[name])


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("algo", ["a2c", "ppo"])
def test_a_worker_that_dies_or_hangs_is_replaced_and_the_segment_is_completed(tmp_path, algo, number):
    run = RunningMain(tmp_path / "run", "--algo", algo, "--num-env-steps", "1e9", "--worker-timeout", "2")
    try:
        for _ in range(3):
            run.wait_for(run.status["steps"] + 1000 if (run.folder / "status.json").exists() else 1000)
            victim = run.workers[0]
            time.sleep(0.1)
            os.kill(victim, number)
            wait_until(lambda victim=victim: is_gone(victim) and len(run.workers) == 2, 15, run)
        run.wait_for(run.status["steps"] + 3000)
        assert run.status["restarts"] == 3
        run.process.send_signal(signal.SIGINT)
        assert run.finish(30) == 130
        assert final(run)["steps"] == run.status["steps"]
    finally:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()
