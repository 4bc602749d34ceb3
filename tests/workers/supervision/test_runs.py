"""Whole runs: what a user gets, under every start method, and what a resumed run keeps."""

import csv
import json

import pytest

from tests.workers.runs import RunningMain, flags
from workers.records import checkpoint
from workers.records.evaluation import read_evaluations
from workers.records.run_folder import RunFolder

pytestmark = pytest.mark.timeout(400)  # learning takes a while on a busy machine


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_two_workers_learn_a_toy_to_its_optimum(tmp_path, method):
    run = RunningMain(
        tmp_path / "run",
        *flags(f"--stop-reward 4.7 --max-seconds 45 --lr 2e-3 --start-method {method}"),
    )
    assert run.finish() == 0, run.text
    assert "done: reached a training return of" in run.text
    assert run.status["state"] == "done"
    assert run.status["eval_return_mean"] == 5.0
    assert "Traceback" not in run.text


def test_recall_needs_and_uses_the_recurrent_core(tmp_path):
    base = flags(
        "--env-name envs.toys:Recall-v0 --num-processes 2 --envs-per-process 4 --eval-interval 0"
    )
    with_core = RunningMain(
        tmp_path / "lstm",
        *flags("--recurrent lstm --lr 2e-3 --stop-reward 0.9 --max-seconds 60"),
        base=base,
    )
    assert with_core.finish() == 0
    assert "done: reached a training return of" in with_core.text


def test_acktr_learns_a_toy_to_the_optimum(tmp_path):
    base = flags(
        "--env-name envs.toys:Aim-v0 --num-processes 2 --envs-per-process 8 --eval-interval 0"
    )
    run = RunningMain(
        tmp_path / "run",
        *flags("--algo acktr --entropy-coef 0 --num-env-steps 250000"),
        base=base,
    )
    assert run.finish() == 0, run.text
    assert run.status["eval_return_mean"] > 9.6


@pytest.mark.parametrize("more", ["--squash-actions --state-dependent-std", "--recurrent gru"])
def test_box_actions_are_learned_to_the_optimum(tmp_path, more):
    base = flags(
        "--env-name envs.toys:Aim-v0 --num-processes 2 --envs-per-process 8 --eval-interval 0"
    )
    # The small entropy bonus gives the deviation an optimum of its own. Without it the deviation
    # goes to zero. It divides the gradients, which then grow without bound, and on a busy machine
    # a stale one can move the policy far away.
    learning = flags("--lr 3e-3 --use-linear-lr-decay --entropy-coef 0.01 --num-env-steps 250000")
    run = RunningMain(tmp_path / "run", *learning, *flags(more), base=base)
    assert run.finish() == 0, run.text
    assert run.status["eval_return_mean"] > 9.8


def test_several_choices_at_once_are_learned_to_the_optimum(tmp_path):
    base = flags("--env-name envs.toys:Dials-v0 --num-processes 2 --eval-interval 0")
    run = RunningMain(
        tmp_path / "run",
        *flags("--lr 3e-3 --use-linear-lr-decay --num-env-steps 60000"),
        base=base,
    )
    assert run.finish() == 0, run.text
    assert run.status["eval_return_mean"] == 5.0


def test_a_new_run_begins_with_the_policy_of_another(tmp_path):
    learning = flags("--lr 3e-3 --use-linear-lr-decay --num-env-steps 60000")
    first = RunningMain(tmp_path / "first", *learning)
    assert first.finish() == 0, first.text
    for name, load in (("newest", "first"), ("best", "first/best.pt")):
        still = flags("--lr 0 --num-env-steps 2000")
        second = RunningMain(tmp_path / name, "--load", str(tmp_path / load), *still)
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
    often = flags("--num-env-steps 20000 --eval-interval 1 --log-interval 1")
    run = RunningMain(tmp_path / "run", *often)
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
    evaluated = [row for row in rows if row["eval/mean_reward"]]
    assert [int(row["time/total_timesteps"]) for row in evaluated] == [
        evaluation.steps for evaluation in read_evaluations(folder.evaluations)
    ]
    assert float(evaluated[-1]["eval/mean_reward"]) == status["eval_return_mean"]
    assert float(rows[-1]["time/total_timesteps"]) == status["steps"]
    assert float(rows[-1]["train/n_updates"]) == status["updates"]
    config = json.loads(folder.config.read_text())
    assert config["env_id_resolved"] == "Bandit-v0"
    assert config["origins"]["num_env_steps"] == "flag"
    assert "Time 00h 00m" in run.text


def test_a_resumed_run_continues_everything(tmp_path):
    first = RunningMain(tmp_path / "run", "--num-env-steps", "20000", "--use-linear-lr-decay")
    assert first.finish() == 0, first.text
    before = first.status
    _, saved, _ = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert saved["statistics"][-1] == pytest.approx(before["updates"], rel=0.01)
    more = flags("--num-env-steps 40000 --num-processes 3")
    second = RunningMain(tmp_path / "run", *more, resume=True)
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


def test_a_damaged_checkpoint_is_skipped(tmp_path):
    first = RunningMain(tmp_path / "run", "--num-env-steps", "2000")
    assert first.finish() == 0
    newest, _, _ = checkpoint.latest(tmp_path / "run" / "checkpoints")
    later = checkpoint.checkpoint_path(newest.parent, 999_999)
    later.write_bytes(newest.read_bytes()[:-100])
    second = RunningMain(tmp_path / "run", "--num-env-steps", "3000", resume=True)
    assert second.finish() == 0, second.text
    assert f"{later.name} was skipped" in second.text
    assert not later.exists()
    assert f"{later.name} was skipped" in (tmp_path / "run" / "log.txt").read_text()


def test_a_run_folder_in_use_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    run = RunningMain(tmp_path / "run")
    assert run.finish() == 2
    assert "is not empty" in run.text
    assert "Traceback" not in run.text
