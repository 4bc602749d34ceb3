"""The example trains as its docstring says, with the loss that it says."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.algorithm import Batch
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from a3c.segment import Segment
from examples import own_algorithm
from workers.settings.algorithms import RECIPES

ROOT = Path(__file__).parents[2]


def run_of(tmp_path: Path, *command: str) -> Path:
    finished = subprocess.run(
        [sys.executable, *command, "--run-dir", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert finished.stderr == ""
    return tmp_path / "run"


def test_it_learns_to_balance(tmp_path):
    program = str(ROOT / "examples" / "own_algorithm.py")
    run = run_of(tmp_path, program, "--stop-reward", "150")
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["restarts"]) == ("done", 0)
    assert status["train_return_mean"] >= 150
    in_docstring = own_algorithm.__doc__.partition("is short for")[2].partition("and takes")[0]
    command = [*shlex.split(in_docstring), "--stop-reward", "150", "--run-dir", "run"]
    assert shlex.split((run / "command.txt").read_text()) == command


def test_main_takes_its_row(tmp_path):
    words = "--algo examples.own_algorithm:A2C_L1 --env-name CartPole-v1 --num-processes 2"
    few = "--num-env-steps 400 --eval-episodes 1 --video-interval 0"
    run = run_of(tmp_path, str(ROOT / "main.py"), *words.split(), *few.split(), "--save-dir", "")
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["restarts"]) == ("done", 0)
    assert status["steps"] >= 400
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if "train/value_loss" in row]  # others are of evaluations
    assert trained[-1]["train/value_loss"] > 0


def test_its_row_is_a2cs_but_for_the_class():
    row, a2c = vars(own_algorithm.A2C_L1), vars(RECIPES["a2c"])
    differing = [name for name in a2c if row[name] != a2c[name]]
    assert differing == ["algorithm"]


def test_the_value_loss_is_the_mean_absolute_error():
    torch.manual_seed(0)
    model = ActorCritic(observation_shape=(3,), head=Categorical(2), hidden_size=4)
    steps = Segment.seen(
        observations=torch.randn(4, 2, 3),
        starts=torch.zeros(4, 2, dtype=torch.bool),
        state=model.initial_state(2),
        actions=torch.randint(2, (4, 2)),
    )
    steps.rewards.copy_(torch.randn(4, 2))
    options = {"gamma": 0.9, "gae_lambda": 1.0, "entropy_coef": 0.01, "value_loss_coef": 0.5}
    own = own_algorithm.L1ActorCritic(**options)
    (batch,) = own.batches(steps)
    assert isinstance(batch, Batch)
    loss, statistics = own.loss(model, batch)
    expected_loss, expected = AdvantageActorCritic(**options).loss(model, batch)
    values = model.unroll(steps.observations, steps.state, steps.starts).values
    absolute = (batch.returns - values).abs().mean()
    torch.testing.assert_close(statistics.pop("square_error"), expected["value_loss"])
    torch.testing.assert_close(statistics["value_loss"], absolute.detach())
    difference = 0.5 * (absolute - expected["value_loss"])
    torch.testing.assert_close(loss, expected_loss + difference)
    assert statistics.keys() == expected.keys()
    assert not own.ends({})
