"""The test worker: killed, stopped, slow to draw, and what is kept of its scores."""

import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workers.runs import RunningMain, flags, is_gone, wait_until
from workers.records import checkpoint
from workers.records.console import Console
from workers.records.evaluation import read_evaluations
from workers.records.metrics import read_metrics
from workers.records.writer import Records
from workers.supervision import evaluations as evaluations_module
from workers.supervision.evaluations import Evaluations
from workers.supervision.launch import prepare, warm_up
from workers.supervision.reporter import Reporter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
DRAWN = "tests.envs.fakes:Drawn-v0"


class Sitting:
    """The main process's side of the test worker, without training workers."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.lines: list[str] = []
        warm_up([])
        own = flags("--num-processes 1 --num-env-steps 100 --eval-interval 0 --save-dir=")
        self.run = prepare([*own, "--run-dir", str(folder), *words])
        console = Console(stream=io.StringIO())
        console.also = self.lines.append
        self.records = Records(
            self.run.folder, env_id="Toy-v0", tensorboard=False, append=False, warn=console.warn
        )
        self.evaluations = Evaluations(
            self.run,
            records=self.records,
            console=console,
            reporter=Reporter(self.run.memory.progress, elapsed=0.0, recent=[]),
            warn=console.warn,
        )

    def listen_until(self, condition: Callable[[], bool], timeout: float = 90.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, self.lines
            self.evaluations.listen()
            time.sleep(0.02)

    def evaluate(self, **changes: Any) -> None:
        """Ask for the last evaluation, after one more step of training."""
        self.run.memory.progress.column("steps")[0] += 1
        arguments = {"tick": lambda: None, "interrupted": lambda: False}
        self.evaluations.last_score(**(arguments | changes))

    def film(self) -> None:
        self.evaluations.last_film(tick=lambda: None, interrupted=lambda: False)

    def replace(self, number: int = signal.SIGKILL) -> None:
        """Kill or stop the test worker, and wait until another one has been started or not."""
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, number)
        self.listen_until(lambda: is_gone(child.pid or 0))
        warnings = len(self.warnings)
        self.listen_until(lambda: len(self.warnings) > warnings or child.exitcode is not None)
        self.evaluations.listen()

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.lines if line.startswith("[warn]")]


@pytest.fixture
def sit(tmp_path):
    sittings = []

    def begin(*words: str) -> Sitting:
        sittings.append(Sitting(tmp_path / "run", *words))
        sittings[-1].evaluations.start()
        return sittings[-1]

    yield begin
    for sitting in sittings:
        sitting.evaluations.end(patience=0.0)
        sitting.records.close()
        sitting.run.close()


def toy(**kwargs: Any) -> list[str]:
    pairs = [f"{key}={value}" for key, value in kwargs.items()]
    return ["--env-name", DRAWN, *(["--env-kwargs", *pairs] if pairs else [])]


def test_the_score_is_filed_before_the_film_is_drawn(tmp_path):
    words = [*toy(seconds=60), *flags("--num-processes 2 --eval-interval 0 --num-env-steps 200")]
    run = RunningMain(tmp_path / "run", base=tuple(words))
    folder = tmp_path / "run"
    wait_until(lambda: (folder / "status.json").exists(), 60, run)
    wait_until(lambda: run.status["eval_return_mean"] is not None, 60, run)
    os.killpg(run.process.pid, signal.SIGKILL)
    assert run.finish() == -signal.SIGKILL
    (evaluation,) = read_evaluations(folder / "evaluations.npz")
    assert run.status["eval_steps"] == run.status["steps"] == evaluation.steps >= 200
    assert run.status["best_eval_return_mean"] == evaluation.mean
    assert checkpoint.load(folder / "best.pt")["mean"] == evaluation.mean
    row = read_metrics(folder / "metrics.csv")[-1]
    assert row["time/total_timesteps"] == evaluation.steps
    assert row["train/n_updates"] == run.status["updates"]
    assert (row["eval/mean_reward"], row["eval/mean_ep_length"]) == (evaluation.mean, 5)
    assert not list((folder / "videos").glob("*.mp4"))


def test_a_slow_film_is_given_up_and_says_what_is_missing(sit, monkeypatch):
    sitting = sit(*toy(seconds=60))
    sitting.evaluate()
    assert sitting.evaluations.last.steps == 1
    assert not sitting.warnings
    monkeypatch.setattr(evaluations_module, "FINAL_PATIENCE", 0.5)
    sitting.film()
    assert len(sitting.warnings) == 1
    assert "video was given up after 0.5 s" in sitting.warnings[0]
    assert "its score is kept" in sitting.warnings[0]


def test_films_that_kill_the_test_worker_end_and_scores_go_on(sit):
    sitting = sit(*toy(dies=True))
    for _ in range(3):
        sitting.evaluate()
        sitting.film()
    assert sitting.evaluations.last.steps == 3
    assert ["videos" in line for line in sitting.warnings] == [False, True]
    assert all("filming, killed by SIGKILL" in line for line in sitting.warnings)


def test_a_test_worker_that_is_stopped_between_evaluations_is_replaced(sit):
    sitting = sit(*toy(), *flags("--worker-timeout 2 --video-interval 0"))
    sitting.evaluate()
    sitting.replace(signal.SIGSTOP)
    assert "no step for 2 s" in sitting.warnings[0]
    sitting.evaluate()
    assert sitting.evaluations.last.steps == 2


def test_only_failures_in_a_row_end_the_evaluations(sit):
    sitting = sit(*toy(), "--video-interval", "0")
    for _ in range(2):
        sitting.replace()
        sitting.replace()
        sitting.evaluate()
    assert sitting.evaluations.last.steps == 2
    assert all("): replaced, training goes on" in line for line in sitting.warnings)
    for _ in range(3):
        sitting.replace()
    assert len(sitting.warnings) == 7
    assert "3 times in a row now, so there are no more evaluations" in sitting.warnings[-1]
    assert not multiprocessing.active_children()
    sitting.evaluate()  # returns at once, and says nothing more
    assert len(sitting.warnings) == 7


def test_a_failing_environment_is_named(sit):
    sitting = sit("--env-name", "envs.toys:Crash-v0", "--env-kwargs", "p=1.0")
    sitting.evaluate()
    assert len(sitting.warnings) == 3
    assert "this environment crashes on purpose" in sitting.warnings[0]


def test_environments_are_closed_at_the_end(sit, tmp_path):
    sitting = sit(*toy(note=tmp_path / "closed"), "--eval-episodes", "3")
    sitting.evaluate()
    sitting.film()
    sitting.evaluations.end(patience=60.0)
    # Three are played, one is filmed. The main process has looked at one before.
    assert (tmp_path / "closed").read_text().count("closed") == 1 + 3 + 1


@pytest.mark.parametrize(("choice", "warnings"), [("--no-eval-sampled", 1), ("--eval-sampled", 0)])
def test_one_game_played_several_times_is_said_once(sit, choice, warnings):
    game = ["--env-name", "PongDeterministic-v4", choice, "--video-interval", "0"]
    sitting = sit(*game, *flags("--eval-episodes 3 --max-episode-length 100"))
    sitting.evaluate()
    sitting.evaluate()
    assert len(sitting.warnings) == warnings
    assert all("the 3 games of an evaluation are only 1" in line for line in sitting.warnings)
