"""Where a run is started: under nohup, in the background, with closed or broken streams."""

import signal
import sys

import pytest

from tests.workers.runs import RunningMain, flags, state, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def test_signals_that_are_ignored_at_the_start_stay_ignored_but_for_sigterm(tmp_path):
    everything = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    run = RunningMain(tmp_path / "run", "--num-env-steps", "1e9", ignored=everything)
    run.wait_for(1000)
    for number in (signal.SIGHUP, signal.SIGINT):
        run.process.send_signal(number)
        run.wait_for(run.status["steps"] + 5000)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 143, run.text


@pytest.mark.parametrize(
    "within",
    [
        'exec "$@" >&-',
        'exec "$@" <&- >&- 2>&-',
        '"$@" 2>&1 | head -1',
    ],
)
def test_a_run_needs_no_standard_streams(tmp_path, within):
    more = flags("--num-env-steps 500 --eval-episodes 1")
    run = RunningMain(tmp_path / "run", *more, within=within)
    assert run.finish() == 0, run.text
    assert run.status["state"] == "done" and run.status["exit_code"] == 0
    assert "done: reached" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_z_stops_all_processes_until_they_are_continued(tmp_path):
    run = RunningMain(tmp_path / "run", "--num-env-steps", "1e9", "--eval-interval", "0.1")
    run.wait_for(1000)
    family = [run.process.pid, *run.workers, run.tester]
    run.process.send_signal(signal.SIGTSTP)
    wait_until(lambda: [state(pid) for pid in family] == ["T"] * 4, 10, run)
    run.process.send_signal(signal.SIGCONT)
    run.wait_for(run.status["steps"] + 5000)
    run.process.send_signal(signal.SIGTERM)
    assert run.finish(60) == 143
    assert run.status["restarts"] == 0
