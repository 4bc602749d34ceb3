"""Whole runs at the barrier.

They give the same bits every time, however often they are stopped. A worker that dies is replaced.
"""

import os
import signal
import sys
import time

import pytest
import torch

from tests.workers.runs import RunningMain, flags, is_gone, wait_until
from workers.records import checkpoint

QUIET = "--eval-interval 0 --video-interval 0 --eval-episodes 1"


def case(env_name: str, text: str) -> tuple[str, ...]:
    return flags(f"--env-name {env_name} {QUIET} {text}")


BANDIT, HOPPER, RECALL = "envs.toys:Bandit-v0", "Hopper-v4", "envs.toys:Recall-v0"
ACROBOT = "Acrobot-v1"  # float32 at first, and float64 later
SETTINGS = {
    "a2c": case(BANDIT, "--algo a2c --num-processes 3 --num-env-steps 40000"),
    "ppo": case(HOPPER, "--algo ppo --num-processes 2 --num-env-steps 30720 --ppo-epoch 2"),
    "ppo on Acrobot": case(ACROBOT, "--algo ppo --num-processes 2 --num-env-steps 12000"),
    "acktr": case(HOPPER, "--algo acktr --num-processes 2 --num-env-steps 30720"),
    "acktr as its authors": case(
        HOPPER,
        "--algo acktr --preset authors --num-processes 2 --num-steps 250 --value-updates 3"
        " --num-env-steps 30000",
    ),
    "acktr with an LSTM": case(
        RECALL,
        "--algo acktr --num-processes 2 --num-env-steps 30000 --envs-per-process 4"
        " --recurrent lstm --fisher-steps 60 --kfac-factor-interval 2",
    ),
    "a2c on frames, with an LSTM": case(
        "Pong-v0",
        "--algo a2c --num-processes 2 --envs-per-process 2 --num-env-steps 4000 --hidden-size 32",
    ),
    "ppo on stacks": case(
        "BreakoutNoFrameskip-v4",
        "--algo ppo --num-processes 2 --obs-mode stack42 --envs-per-process 2 --num-steps 32"
        " --num-env-steps 4000 --hidden-size 64",
    ),
    "acktr with convolutions": case(
        "PongNoFrameskip-v4",
        "--algo acktr --num-processes 2 --envs-per-process 2 --num-env-steps 4000 --hidden-size 64",
    ),
    "ppo with fewer sequences of a worker than minibatches": case(
        RECALL,
        "--algo ppo --num-processes 3 --num-env-steps 6000 --envs-per-process 1"
        " --num-mini-batch 2 --recurrent-policy --target-kl 0.02",
    ),
}


@pytest.fixture
def start(tmp_path):
    """Start runs in folders of the test; kill those that are still running at its end."""
    runs = []

    def one(
        name: str, *arguments: str, base: tuple[str, ...] = (), resume: bool = False
    ) -> RunningMain:
        runs.append(RunningMain(tmp_path / name, *arguments, base=base, resume=resume))
        return runs[-1]

    yield one
    for run in runs:
        run.kill()


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
def test_runs_of_one_seed_end_with_the_same_bits_also_when_one_is_stopped_and_resumed(start, name):
    whole, stopped = (start(part, base=SETTINGS[name]) for part in ("whole", "stopped"))
    stopped.wait_for(1000)
    stopped.process.send_signal(signal.SIGINT)
    assert stopped.finish() == 130, stopped.text
    middle = stopped.status["steps"]
    resumed = start("stopped", resume=True)
    assert whole.finish() == 0, whole.text
    assert resumed.finish() == 0, resumed.text
    assert 0 < middle < resumed.status["steps"]
    assert_same(final(whole), final(resumed))


def test_a_run_of_another_version_goes_on_with_new_episodes_and_says_so(start):
    run = start("run", base=case(BANDIT, "--algo a2c --num-processes 2 --num-env-steps 2000"))
    assert run.finish() == 0, run.text
    path = next((run.folder / "checkpoints").glob("*.pt"))
    state = checkpoint.load(path)
    for worker in state["workers"]:
        worker["actor"]["environments"]["environments"] = [{"0 Bandit": {}}]
    checkpoint.save(path, state)
    resumed = start("run", "--num-env-steps", "4000", resume=True)
    assert resumed.finish() == 0, resumed.text
    assert resumed.text.count("the resumed run begins new episodes: another version saved") == 1
    assert resumed.status["steps"] >= 4000 and resumed.status["restarts"] == 0


def test_a_run_killed_without_warning_goes_on_from_its_checkpoint_with_the_same_bits(
    tmp_path, start
):
    settings = case(HOPPER, "--algo a2c --num-processes 2 --num-env-steps 60000")
    killed = start("killed", "--checkpoint-interval", "1", base=settings)
    folder = tmp_path / "killed" / "checkpoints"
    wait_until(lambda: folder.exists() and any(folder.glob("*.pt")), 30, killed)
    os.killpg(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    resumed, whole = start("killed", resume=True), start("whole", base=settings)
    assert resumed.finish() == 0, resumed.text
    assert whole.finish() == 0, whole.text
    assert_same(final(whole), final(resumed))


@pytest.mark.parametrize("algo", ["a3c", "ppo"])
def test_one_worker_gives_the_same_numbers_with_either_exchange(tmp_path, algo):
    base = case(
        HOPPER, f"--algo {algo} --num-processes 1 --num-env-steps 3000 --envs-per-process 1"
    )
    barrier, hogwild = (
        RunningMain(tmp_path / name, "--exchange", name, base=base)
        for name in ("barrier", "hogwild")
    )
    assert barrier.finish() == 0, barrier.text
    assert hogwild.finish() == 0, hogwild.text
    for name in ("parameters", "statistics"):
        assert torch.equal(final(barrier)[name], final(hogwild)[name])


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("algo", "number"),
    [
        ("a2c", signal.SIGKILL),
        ("a2c", signal.SIGSTOP),
        ("ppo", signal.SIGKILL),
        ("acktr", signal.SIGSTOP),
        ("acktr --value-updates 3 --desired-kl 0.01", signal.SIGKILL),
    ],
)
def test_a_worker_that_dies_or_hangs_is_replaced_and_the_segment_is_completed(
    tmp_path, algo, number
):
    long = "--num-env-steps 1e9 --worker-timeout 2 --checkpoint-interval 1"
    run = RunningMain(tmp_path / "run", "--algo", *flags(algo), *flags(long))
    try:
        for _ in range(3):
            started = (run.folder / "status.json").exists()
            run.wait_for(run.status["steps"] + 1000 if started else 1000)
            victim = run.workers[0]
            time.sleep(0.1)
            os.kill(victim, number)
            wait_until(lambda victim=victim: is_gone(victim) and len(run.workers) == 2, 15, run)
        run.wait_for(run.status["steps"] + 3000)
        assert run.status["restarts"] == 3
        run.process.send_signal(signal.SIGINT)
        assert run.finish(30) == 130
        assert final(run)["steps"] == run.status["steps"]
        assert "rows" in final(run)  # all workers stood at the same meeting in the end
    finally:
        run.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_worker_that_is_dead_when_the_run_ends_is_replaced_for_the_last_segment(tmp_path):
    run = RunningMain(tmp_path / "run", "--algo", "a2c", "--num-env-steps", "1e9")
    run.wait_for(1000)
    os.kill(run.workers[1], signal.SIGSTOP)
    time.sleep(0.3)  # the other one waits now
    os.kill(run.workers[1], signal.SIGKILL)
    run.process.send_signal(signal.SIGINT)
    assert run.finish(30) == 130, run.text
    assert "rows" in final(run)


def test_numbers_that_are_none_cost_their_episodes_and_no_more(tmp_path):
    base = case("envs.toys:NaN-v0", "--env-kwargs p=0.02 --algo ppo --num-processes 2")
    run = RunningMain(tmp_path / "run", "--num-env-steps", "8000", base=base)
    assert run.finish() == 0, run.text
    assert run.status["restarts"] == run.status["dropped_gradients"] == 0
    assert run.status["faulty_episodes"] > 20
    assert 0 < run.status["train_return_mean"] <= 5
    assert run.text.count("; the episode was ended and is not counted") == 1


@pytest.mark.parametrize(
    ("algo", "kwargs", "sentence"),
    [
        ("a2c", "rewards={2:1e30}", "gave the reward 1e+30; rewards must be finite and smaller"),
        ("a3c", "observations={2:[1.0]}", "as the observation and gave shape (1,) of float64"),
    ],
)
def test_what_nobody_can_learn_from_ends_the_run_in_one_sentence(tmp_path, algo, kwargs, sentence):
    base = case("tests.envs.misbehaving:Misbehaving-v0", f"--algo {algo} --env-kwargs {kwargs}")
    run = RunningMain(tmp_path / "run", "--num-env-steps", "1e9", base=base)
    assert run.finish() == 1, run.text
    assert run.status["restarts"] == 0
    failed = [line for line in run.text.splitlines() if line.startswith("failed: ")]
    assert [sentence in line for line in failed] == [True]
    assert "Traceback" not in run.text
