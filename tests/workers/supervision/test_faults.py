"""Things that go wrong, done on purpose to real runs."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.workers.runs import ROOT, RunningMain, flags, is_gone, wait_until
from workers.records import checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
LONG = ("--num-env-steps", "1e9")


def toy(name: str, env_kwargs: str) -> tuple[str, ...]:
    environment = f"--env-name envs.toys:{name}-v0 --env-kwargs {env_kwargs}"
    return flags(f"{environment} --num-processes 2 --eval-interval 0")


@pytest.fixture
def run(tmp_path):
    run = RunningMain(tmp_path / "run", *LONG, "--worker-timeout", "2")
    yield run
    run.kill()


def test_a_killed_worker_is_replaced_and_the_others_go_on(run):
    run.wait_for(1000)
    # Priorities count within a session, and signals to a group pass the children by.
    children = [*run.workers, run.tester]
    assert {os.getsid(pid) for pid in children} == {os.getsid(run.process.pid)}
    assert [os.getpgid(pid) for pid in children] == children
    for _ in range(5):
        victim = run.workers[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda victim=victim: victim not in run.workers and len(run.workers) == 2, 10, run
        )
    run.wait_for(run.status["steps"] + 5000)
    assert run.status["restarts"] == 5
    assert run.status["workers_alive"] == 2
    assert "killed by SIGKILL): replaced" in run.text


def test_a_stopped_worker_is_replaced(run):
    run.wait_for(1000)
    victim = run.workers[0]
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: is_gone(victim) and len(run.workers) == 2, 15, run)
    wait_until(lambda: run.status["restarts"] == 1, 10, run)
    assert "no step for 2 s" in run.text


@pytest.mark.parametrize("to_everybody", [True, False])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_saves_and_stops(run, number, code, to_everybody):
    run.wait_for(1000)
    family = run.family
    assert len(family) >= 4
    began = time.monotonic()
    run.process.send_signal(number)
    if to_everybody:
        # Terminals and timeout(1) signal the main process's group, some schedulers every process.
        os.killpg(run.process.pid, number)
        for pid in family:
            os.kill(pid, number)
    assert run.finish(20) == code
    assert time.monotonic() - began < 10
    assert run.status["state"] == "interrupted"
    assert run.status["exit_code"] == code
    assert run.status["restarts"] == 0
    _, state, _ = checkpoint.latest(run.folder / "checkpoints")
    assert state["steps"] == run.status["steps"]
    assert "Traceback" not in run.text
    wait_until(lambda: all(is_gone(pid) for pid in family), 5, run)


def test_a_second_signal_ends_it_now(run):
    run.wait_for(1000)
    os.kill(run.workers[0], signal.SIGSTOP)  # so that an orderly end takes a while
    run.process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    run.process.send_signal(signal.SIGINT)
    assert run.finish(20) == 130
    assert "go on:" not in run.text, "it ended in order"
    assert "Traceback" not in run.text


@pytest.mark.parametrize("delay", [0.3, 1.0, 1.8])
def test_a_signal_during_start_up_ends_without_a_trace(run, delay):
    time.sleep(delay)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.finish(20) == 130, run.text
    assert "Traceback" not in run.text


def test_sigusr1_makes_a_checkpoint_and_the_run_goes_on(run):
    run.wait_for(1000)
    family = run.family
    for pid in (run.process.pid, *family):
        os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: any((run.folder / "checkpoints").glob("*.pt")), 10, run)
    run.wait_for(run.status["steps"] + 1000)
    assert run.status["restarts"] == 0
    assert not [pid for pid in family if is_gone(pid)]


def test_children_do_not_outlive_a_killed_parent(run):
    run.wait_for(1000)
    family = run.family
    os.kill(run.workers[0], signal.SIGSTOP)
    run.process.kill()
    run.process.wait()
    wait_until(lambda: all(is_gone(pid) for pid in family), 3, run)


def test_the_test_workers_death_does_not_stop_training(run):
    run.wait_for(1000)
    os.kill(run.tester, signal.SIGKILL)
    run.wait_for(run.status["steps"] + 5000)
    assert "the test worker died (killed by SIGKILL): replaced" in run.text


def test_a_live_run_is_not_resumed(run):
    run.wait_for(1000)
    run.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: any((run.folder / "checkpoints").glob("*.pt")), 10, run)
    second = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "--resume", str(run.folder)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 2
    assert "still going" in second.stderr


def test_environments_that_crash_now_and_then(tmp_path):
    base = toy("Crash", "p=0.0005")
    run = RunningMain(
        tmp_path / "run", "--num-env-steps", "20000", "--max-restarts", "1000", base=base
    )
    assert run.finish() == 0, run.text
    assert run.status["restarts"] > 0
    assert "Traceback" not in run.text
    assert "Traceback" in (run.folder / "log.txt").read_text()


def test_environments_that_always_crash_end_the_run_with_the_cause(tmp_path):
    base = toy("Crash", "p=1.0")
    run = RunningMain(tmp_path / "run", base=base)
    assert run.finish(120) == 1, run.text
    assert run.status["state"] == "failed"
    assert "Traceback" not in run.text


def test_an_environment_that_hangs_is_replaced(tmp_path):
    base = toy("Hang", "n=2000")
    run = RunningMain(
        tmp_path / "run", "--num-env-steps", "10000", "--worker-timeout", "1", base=base
    )
    assert run.finish(120) == 0, run.text
    assert run.status["restarts"] > 0


def test_not_a_number_never_reaches_the_shared_parameters(tmp_path):
    base = toy("NaN", "p=0.001")
    run = RunningMain(tmp_path / "run", "--num-env-steps", "20000", base=base)
    assert run.finish() == 0, run.text
    assert run.status["faulty_episodes"] > 0
    assert run.status["dropped_gradients"] == 0
    _, state, _ = checkpoint.latest(run.folder / "checkpoints")
    assert state["parameters"].isfinite().all()


def test_too_many_failures_are_exit_code_3(tmp_path):
    base = toy("Crash", "p=0.01")
    run = RunningMain(tmp_path / "run", *LONG, "--max-restarts", "3", base=base)
    assert run.finish(120) == 3, run.text
    assert run.status["exit_code"] == 3


@pytest.mark.parametrize("algo", ["a3c", "a2c"])
def test_a_frozen_worker_does_not_hold_up_the_end(tmp_path, algo):
    run = RunningMain(tmp_path / "run", "--algo", algo, *LONG)
    run.wait_for(1000)
    os.kill(run.workers[0], signal.SIGSTOP)
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 143, run.text
    # On a quiet machine it takes 6 s; --worker-timeout is 60.
    assert time.monotonic() - began < 30
    _, state, _ = checkpoint.latest(run.folder / "checkpoints")
    assert state["steps"] == run.status["steps"]


@pytest.mark.parametrize("algo", ["a3c", "a2c"])
def test_a_killed_fork_server_is_started_anew(tmp_path, algo):
    run = RunningMain(tmp_path / "run", "--algo", algo, *LONG)
    run.wait_for(1000)
    family = run.family
    os.kill(run.fork_server, signal.SIGKILL)
    wait_until(lambda: len(run.workers) == 2 and not {*run.workers} & {*family}, 60, run)
    run.wait_for(run.status["steps"] + 5000)
    run.process.send_signal(signal.SIGINT)
    assert run.finish() == 130, run.text
    assert "killed with the fork server" in run.text
    assert run.status["restarts"] == 2


def test_parameters_that_are_not_finite_end_the_run_with_the_cause(tmp_path):
    run = RunningMain(tmp_path / "run", *LONG, "--lr", "1e38")
    assert run.finish() == 1, run.text
    assert "failed: the shared parameters are no longer finite (is --lr 1e+38 too" in run.text
    assert run.status["restarts"] == 0


def test_a_run_that_fails_saves_what_it_has_learned(tmp_path):
    base = toy("Crash", "p=0.002")
    run = RunningMain(tmp_path / "run", *LONG, "--max-restarts", "3", "--algo", "a2c", base=base)
    assert run.finish() == 3, run.text
    _, state, _ = checkpoint.latest(run.folder / "checkpoints")
    assert 0 < state["steps"] == run.status["steps"]
