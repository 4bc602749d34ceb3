"""Environments that fail in every way: replaced where that helps, or one clear failure."""

import multiprocessing
import sys
import time
from pathlib import Path

import pytest

from envs.ids import EnvironmentProblem
from tests.workers.runs import RunningMain, flags
from workers.settings.flags import parse
from workers.supervision.child import PRELOADED, get_context
from workers.supervision.look import Look

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
FILE = Path(__file__).with_name("failing.py")
LINE = 1 + FILE.read_text().splitlines().index('    "raise": lambda: {}["no such robot"],')
MODULE = "tests.workers.supervision.failing"
CONTEXT = get_context("auto")
CONTEXT.set_forkserver_preload(PRELOADED)


@pytest.fixture
def train(tmp_path):
    """Train in an environment that fails; return the run."""

    def train(deed: str, when: str, n: int, more: str) -> RunningMain:
        own = f"--env-name {MODULE}:Failing-v0 --env-kwargs deed={deed} when={when} n={n}"
        base = flags(f"{own} --num-processes 2 --eval-interval 0 --video-interval 0 {more}")
        return RunningMain(tmp_path / "run", base=base)

    return train


@pytest.mark.parametrize(
    ("deed", "when", "n", "algo", "cause"),
    [
        ("raise", "step", 1, "a2c", "KeyError: 'no such robot', file"),
        ("raise", "reset", 2, "a3c", "KeyError: 'no such robot', file"),
        ("crash", "step", 1, "a2c", "killed by SIGSEGV"),
    ],
)
def test_what_always_fails_is_one_clear_failure(train, deed, when, n, algo, cause):
    run = train(deed, when, n, f"--algo {algo}")
    assert run.finish() == 1, run.text
    assert f"died in the same way, so that replacing them does not help: {cause}" in run.text
    assert run.text.count("died") <= 2 + run.text.count("the test worker died")
    # A crash may have come from outside, as a signal; more of them show that it did not.
    assert run.status["restarts"] == (8 if deed == "crash" else 2)
    assert "Traceback" not in run.text
    if deed == "raise":
        assert f"file {FILE}, line {LINE}; see {run.folder / 'log.txt'}" in run.text


@pytest.mark.parametrize("algo", ["a3c", "a2c"])
def test_a_worker_that_leaves_with_exit_code_0_is_replaced(train, algo):
    run = train("leave", "step", 3000, f"--algo {algo} --num-env-steps 8000")
    assert run.finish() == 0, run.text
    assert run.status["restarts"] > 0
    assert run.status["steps"] >= 8000
    assert "died (exit code 0 without an error" in run.text


def test_steps_that_always_hang_are_one_clear_failure(train):
    run = train("hang", "step", 1, "--algo a2c --worker-timeout 3")
    assert run.finish() == 1, run.text
    assert "none has taken a step for 3 s; does reset() or step()" in run.text


def look(deed: str) -> Look:
    words = flags(f"--env-name {MODULE}:Failing-v0 --env-kwargs deed={deed} when=make n=1")
    line = parse([*words, "--worker-timeout", "5"])
    return Look(line.environment, line.config, CONTEXT)


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        ("leave", r"ended \(exit code 0 without an error; does its environment call os._exit"),
        ("crash", rf"ended \(killed by SIGSEGV, a crash of compiled code, file {FILE}, line"),
        ("raise", rf"'no such robot', file {FILE}, line {LINE}"),
        ("hang", rf"was not ready after 5 s, file {FILE}, line {LINE + 3};"),
    ],
)
def test_an_environment_that_fails_while_it_is_made_is_one_sentence(deed, sentence):
    with pytest.raises(EnvironmentProblem, match=rf"^Failing-v0 could not be made.*{sentence}"):
        look(deed).spaces()


def test_a_signal_ends_the_look_at_an_environment_that_hangs():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        look("hang").spaces(interrupted=lambda: time.monotonic() > began + 1)
    assert not [child for child in multiprocessing.active_children() if child.name == "look"]
