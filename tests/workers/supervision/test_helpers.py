"""Environments with processes and threads of their own, and what becomes of those."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.workers.runs import RunningMain, flags, is_gone, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def start(folder: Path, *words: str, close: str = "terminate") -> RunningMain:
    base = flags("--env-name tests.envs.simulators:Simulated-v0 --num-processes 2")
    kwargs = ("--env-kwargs", f"folder={folder}", f"close={close}")
    return RunningMain(
        folder / "run",
        *words,
        base=(*base, *flags("--video-interval 0 --eval-episodes 1"), *kwargs),
    )


def helpers(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in folder.glob("helper-*")]


def ends(folder: Path) -> list[str]:
    """What each `close` of an environment saw of its helpers' ends."""
    return [path.read_text() for path in folder.glob("closed-*")]


def assert_none_is_left(folder: Path, run: RunningMain) -> None:
    assert helpers(folder)
    wait_until(lambda: all(is_gone(pid) for pid in helpers(folder)), 5, run)


@pytest.mark.parametrize("algo", ["a3c", "a2c"])
def test_environments_are_closed_and_end_their_own_helpers(tmp_path, algo):
    run = start(tmp_path, "--num-env-steps", "1e9", "--eval-interval", "0", "--algo", algo)
    everybody = 1 + 2 + 1  # the look, two workers, the test worker
    wait_until(lambda: len(helpers(tmp_path)) == 3 * everybody, 90, run)
    run.wait_for(1000)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 143, run.text
    assert run.status["restarts"] == 0
    assert ends(tmp_path) == ["[-15, -15] -15"] * everybody, run.text
    assert all(is_gone(pid) for pid in helpers(tmp_path))


@pytest.mark.parametrize("close", ["hang", "raise"])
def test_helpers_of_an_environment_that_cannot_close_are_killed(tmp_path, close):
    run = start(tmp_path, "--num-env-steps", "500", "--algo", "a2c", close=close)
    assert run.finish() == 0, run.text
    assert run.status["restarts"] == 0
    assert_none_is_left(tmp_path, run)


def test_helpers_do_not_outlive_a_killed_worker(tmp_path):
    run = start(tmp_path, "--num-env-steps", "1e9", "--eval-interval", "0")
    run.wait_for(500)
    before = helpers(tmp_path)
    for worker in run.workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: run.status["restarts"] == 2, 30, run)
    run.wait_for(run.status["steps"] + 500)
    left = [pid for pid in before if not is_gone(pid)]
    run.process.send_signal(signal.SIGTERM)
    assert run.finish() == 143
    assert len(left) == 3, "those of the test worker"
    assert_none_is_left(tmp_path, run)


@pytest.mark.parametrize("stopped", [False, True])
def test_helpers_do_not_outlive_a_killed_main_process(tmp_path, stopped):
    run = start(tmp_path, "--num-env-steps", "1e9", "--eval-interval", "0")
    run.wait_for(500)
    if stopped:
        os.kill(run.workers[0], signal.SIGSTOP)
    family = run.family
    run.process.kill()
    run.process.wait()
    wait_until(lambda: all(is_gone(pid) for pid in family), 5, run)
    assert_none_is_left(tmp_path, run)


def test_what_environments_print_goes_to_the_log(tmp_path):
    base = flags("--env-name tests.envs.simulators:Talkative-v0 --num-processes 2")
    more = flags("--num-env-steps 500 --video-interval 0 --eval-episodes 1")
    run = RunningMain(tmp_path / "run", *more, base=base)
    assert run.finish() == 0, run.text
    log = (tmp_path / "run" / "log.txt").read_text()
    for line in (
        "printed by Python",
        "an error by Python",
        "written to descriptor 1",
        "written to descriptor 2",
        "printed by C",
    ):
        assert line not in run.text
        assert log.count(line) == 1 + 2 + 1, f"{line}: by the look, two workers, the test worker"
