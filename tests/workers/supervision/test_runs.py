"""Whole runs: what a user gets, under every start method, and what a resumed run keeps."""

import csv
import json
import subprocess
import sys

import pytest

from tests.workers.runs import ROOT, RunningMain
from workers.records import checkpoint
from workers.records.run_folder import RunFolder


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_two_workers_learn_a_toy_to_its_optimum(tmp_path, method):
    run = RunningMain(
        tmp_path / "run",
        "--stop-reward",
        "4.7",
        "--max-seconds",
        "45",
        "--lr",
        "2e-3",
        "--start-method",
        method,
    )
    assert run.finish() == 0, run.text
    assert "done: reached a training return of" in run.text
    assert run.status["state"] == "done"
    assert run.status["eval_return_mean"] == 5.0
    assert "Traceback" not in run.text


def test_recall_needs_and_uses_the_recurrent_core(tmp_path):
    base = (
        "--env-name",
        "envs.toys:Recall-v0",
        "--num-processes",
        "2",
        "--envs-per-process",
        "4",
        "--eval-interval",
        "0",
    )
    with_core = RunningMain(
        tmp_path / "lstm",
        "--recurrent",
        "lstm",
        "--lr",
        "2e-3",
        "--stop-reward",
        "0.9",
        "--max-seconds",
        "60",
        base=base,
    )
    assert with_core.finish(90) == 0
    assert "done: reached a training return of" in with_core.text


@pytest.mark.parametrize(("toy", "optimum"), [("Bandit", 4.9), ("Aim", 9.6)])
def test_acktr_learns_toys_to_the_optimum(tmp_path, toy, optimum):
    base = (
        "--env-name",
        f"envs.toys:{toy}-v0",
        "--num-processes",
        "2",
        "--envs-per-process",
        "8",
        "--eval-interval",
        "0",
    )
    run = RunningMain(
        tmp_path / "run",
        "--algo",
        "acktr",
        "--entropy-coef",
        "0",
        "--num-env-steps",
        "250000",
        base=base,
    )
    assert run.finish(90) == 0, run.text
    assert run.status["eval_return_mean"] > optimum


@pytest.mark.parametrize(
    "flags", [(), ("--squash-actions", "--state-dependent-std"), ("--recurrent", "gru")]
)
def test_box_actions_are_learned_to_the_optimum(tmp_path, flags):
    base = (
        "--env-name",
        "envs.toys:Aim-v0",
        "--num-processes",
        "2",
        "--envs-per-process",
        "8",
        "--eval-interval",
        "0",
    )
    # The small bonus gives the deviation an optimum of its own. Without it the deviation goes to zero, gradients, which it
    # divides, grow without bound, and on a busy machine a stale one can throw a policy far from where it was.
    learning = (
        "--lr",
        "3e-3",
        "--use-linear-lr-decay",
        "--entropy-coef",
        "0.01",
        "--num-env-steps",
        "250000",
    )
    run = RunningMain(tmp_path / "run", *learning, *flags, base=base)
    assert run.finish(90) == 0, run.text
    assert run.status["eval_return_mean"] > 9.8


@pytest.mark.parametrize("kind", ["switches=False", "switches=True"])
def test_several_choices_at_once_are_learned_to_the_optimum(tmp_path, kind):
    base = (
        "--env-name",
        "envs.toys:Dials-v0",
        "--env-kwargs",
        kind,
        "--num-processes",
        "2",
        "--eval-interval",
        "0",
    )
    run = RunningMain(
        tmp_path / "run",
        "--lr",
        "3e-3",
        "--use-linear-lr-decay",
        "--num-env-steps",
        "60000",
        base=base,
    )
    assert run.finish(90) == 0, run.text
    assert run.status["eval_return_mean"] == 5.0


def test_a_new_run_begins_with_the_policy_of_another(tmp_path):
    first = RunningMain(
        tmp_path / "first", "--lr", "3e-3", "--use-linear-lr-decay", "--num-env-steps", "60000"
    )
    assert first.finish() == 0, first.text
    for name, load in (("newest", "first"), ("best", "first/best.pt")):
        second = RunningMain(
            tmp_path / name, "--load", str(tmp_path / load), "--lr", "0", "--num-env-steps", "2000"
        )
        assert second.finish() == 0, second.text
        assert second.status["steps"] < 10_000
        assert second.status["eval_return_mean"] == 5.0
    _, state, _ = checkpoint.latest(tmp_path / "newest" / "checkpoints")
    assert state["normaliser"]["count"] > 60_000  # the first run's observations among them
    other = RunningMain(
        tmp_path / "other", "--load", str(tmp_path / "first"), "--hidden-size", "16"
    )
    assert other.finish() == 2
    assert "has a network of its own: say --hidden-size" in other.text
    recall = ("--env-name", "envs.toys:Recall-v0", "--num-processes", "1")
    unlike = RunningMain(tmp_path / "recall", "--load", str(tmp_path / "first"), base=recall)
    assert unlike.finish() == 2
    assert "has other observations or actions than envs.toys:Recall-v0" in unlike.text
    assert not (tmp_path / "recall").exists()


def test_the_run_folder_holds_what_scripts_rely_on(tmp_path):
    run = RunningMain(
        tmp_path / "run", "--num-env-steps", "20000", "--eval-interval", "1", "--log-interval", "1"
    )
    assert run.finish() == 0, run.text
    folder = RunFolder.open(str(tmp_path / "run"))
    for path in (
        folder.config,
        folder.command,
        folder.log,
        folder.monitor,
        folder.evaluations,
        folder.best,
        folder.curve,
    ):
        assert path.exists(), path
    status = run.status
    assert status["exit_code"] == 0
    assert status["steps"] >= 20_000
    assert status["workers_alive"] == 0
    assert status["best_eval_return_mean"] >= status["eval_return_mean"] - 1e-9
    with open(folder.metrics_csv) as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["time/total_timesteps"]) == status["steps"]
    assert float(rows[-1]["train/n_updates"]) == status["updates"]
    config = json.loads(folder.config.read_text())
    assert config["env_id_resolved"] == "Bandit-v0"
    assert config["origins"]["num_env_steps"] == "flag"
    assert "Time 00h 00m" in run.text


def test_a_resumed_run_goes_on_with_everything(tmp_path):
    first = RunningMain(tmp_path / "run", "--num-env-steps", "20000", "--use-linear-lr-decay")
    assert first.finish() == 0, first.text
    before = first.status
    _, saved, _ = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert saved["statistics"][-1] == pytest.approx(before["updates"], rel=0.01)
    second = RunningMain(
        tmp_path / "run", "--num-env-steps", "40000", "--num-processes", "3", resume=True
    )
    assert second.finish() == 0, second.text
    after = second.status
    _, state, _ = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert after["steps"] >= 40_000
    assert after["updates"] > before["updates"]
    assert after["episodes"] > before["episodes"]
    assert after["seconds"] > before["seconds"]
    assert state["normaliser"]["count"] > saved["normaliser"]["count"] > 0
    assert state["config"]["use_linear_lr_decay"] is True
    assert "resumed at 20," in second.text
    with open(tmp_path / "run" / "metrics.csv") as file:
        steps = [float(row["time/total_timesteps"]) for row in csv.DictReader(file)]
    assert steps == sorted(steps)


def test_resume_refuses_another_network(tmp_path):
    first = RunningMain(tmp_path / "run", "--num-env-steps", "2000")
    assert first.finish() == 0
    second = RunningMain(tmp_path / "run", "--hidden-size", "32", resume=True)
    assert second.finish() == 2
    assert "keeps --hidden-size 64" in second.text


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    first = RunningMain(tmp_path / "run", "--num-env-steps", "2000")
    assert first.finish() == 0
    newest, _, _ = checkpoint.latest(tmp_path / "run" / "checkpoints")
    later = checkpoint.checkpoint_path(newest.parent, 999_999)
    later.write_bytes(newest.read_bytes()[:-100])
    second = RunningMain(tmp_path / "run", "--num-env-steps", "3000", resume=True)
    assert second.finish() == 0, second.text
    assert f"{later.name} was skipped" in second.text
    assert not later.exists()
    assert (run_log := (tmp_path / "run" / "log.txt").read_text())
    assert f"{later.name} was skipped" in run_log


def test_a_run_folder_in_use_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    run = RunningMain(tmp_path / "run")
    assert run.finish() == 2
    assert "is not empty" in run.text
    assert "Traceback" not in run.text


def test_enjoy_plays_what_main_saved(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "main.py"),
        "--env-name",
        "envs.toys:Bandit-v0",
        "--num-processes",
        "2",
    ]
    command += [
        "--stop-reward",
        "4.7",
        "--lr",
        "2e-3",
        "--max-seconds",
        "45",
        "--video-interval",
        "0",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=90, stdout=subprocess.DEVNULL)
    play = [sys.executable, str(ROOT / "enjoy.py"), "--episodes", "3", "--json"]
    by_run = subprocess.run(
        [*play, "--run-dir", "runs/latest"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    by_folder = subprocess.run(
        [*play, "--load-dir", "trained_models/a3c", "--env-name", "envs.toys:Bandit-v0"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    for result in (json.loads(by_run.stdout), json.loads(by_folder.stdout)):
        assert result["returns"] == [5.0, 5.0, 5.0]
        assert result["lengths"] == [5, 5, 5]
        assert (result["mean"], result["std"]) == (5.0, 0.0)


def test_enjoy_says_what_is_missing(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "enjoy.py"),
        "--load-dir",
        "nowhere",
        "--env-name",
        "Pong-v0",
    ]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_environment_of_ones_own_from_another_folder(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import gymnasium\nfrom envs.toys import Bandit\n\n\n"
        "class Mine(Bandit):\n    def __init__(self, size):\n        super().__init__()\n        assert size == 7\n\n\n"
        "gymnasium.register('Mine-v0', entry_point='mine:Mine')\n"
    )
    base = (
        "--env-name",
        "mine:Mine-v0",
        "--env-kwargs",
        "size=7",
        "--num-processes",
        "2",
        "--eval-interval",
        "0",
    )
    run = RunningMain(tmp_path / "run", "--num-env-steps", "2000", base=base)
    assert run.finish() == 0, run.text
    play = [sys.executable, str(ROOT / "enjoy.py"), "--run-dir", "run", "--episodes", "1", "--json"]
    assert json.loads(
        subprocess.run(play, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    )["lengths"] == [5]


def test_auxiliary_heads_of_ones_own_learn_beside_the_policy(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from a3c.auxiliary import AuxiliaryHead\n\n\n"
        "def error(outputs, segment):\n    return (outputs - segment.observations).square().mean()\n\n\n"
        "def heads(spaces):\n"
        "    size = spaces.observation_shape[0]\n"
        "    return [AuxiliaryHead(name='copy', side='actor', depth=-1, size=size, loss=error)]\n"
    )
    run = RunningMain(
        tmp_path / "run",
        "--auxiliary-heads",
        "mine:heads",
        "--stop-reward",
        "4.7",
        "--max-seconds",
        "45",
    )
    assert run.finish() == 0, run.text
    assert run.status["eval_return_mean"] == 5.0
    wrong = RunningMain(tmp_path / "wrong", "--auxiliary-heads", "mine:tails")
    assert wrong.finish() == 2
    assert "is not a function module:function" in wrong.text
    assert "Traceback" not in wrong.text
