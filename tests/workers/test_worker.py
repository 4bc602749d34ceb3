"""From a task to a trainer."""

import dataclasses

import pytest
import torch

from shared_optim.exchange import Barrier, Hogwild
from tests.workers.tasks import SPACES, bandit_task, make_trainer, shared_memory
from workers.gradients import CurvedGradient, TracedGradient
from workers.learner import PlainGradient
from workers.settings import recipes
from workers.settings.flags import parse
from workers.settings.models import build_model
from workers.settings.recipes import build_algorithm, trace_gradient
from workers.worker import Task


@pytest.fixture
def task(tmp_path) -> Task:
    return bandit_task(tmp_path)


def test_workers_draw_different_numbers_and_the_same_ones_again(task):
    def actions(worker: int, stream: tuple[int, ...]) -> list[int]:
        trainer = make_trainer(dataclasses.replace(task, worker=worker, stream=stream))
        return trainer.actor.play().actions.flatten().tolist()

    assert actions(0, (0, 0)) == actions(0, (0, 0))
    assert actions(0, (0, 0)) != actions(1, (0, 0))
    assert actions(0, (0, 0)) != actions(0, (0, 1))


@pytest.mark.parametrize(
    ("algo", "default"), [("a3c", False), ("a2c", False), ("ppo", True), ("acktr", False)]
)
def test_every_algorithm_normalises_advantages_where_the_flag_says_so(algo, default):
    words = ["--env-name", "CartPole-v1", "--preset", "none", "--algo", algo]
    for more, expected in (
        ([], default),
        (["--normalize-advantages"], True),
        (["--no-normalize-advantages"], False),
    ):
        assert build_algorithm(parse([*words, *more]).config).normalize_advantages == expected


@pytest.mark.parametrize(("algo", "kind"), [("a3c", Hogwild), ("a2c", Barrier)])
def test_the_exchange_is_that_of_the_algorithms_row(tmp_path, algo, kind):
    trainer = make_trainer(bandit_task(tmp_path, "--algo", algo))
    assert type(trainer.learner.exchange) is kind


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["--algo", "a2c"], [0.5, 1.5]),
        (["--algo", "a2c", "--exchange", "hogwild"], [1.0, 1.0]),  # each acts alone
    ],
)
def test_segments_are_weighted_by_their_share_of_all_workers_steps(tmp_path, words, weights):
    task = bandit_task(tmp_path, *words, "--distributed-step-size", "2", "6")
    for worker, (num_steps, weight) in enumerate(zip((2, 6), weights, strict=True)):
        trainer = make_trainer(dataclasses.replace(task, worker=worker))
        segment = trainer.actor.play()
        assert (len(segment.rewards), segment.weight) == (num_steps, weight)


GRADIENTS = [
    (["--algo", "a3c"], PlainGradient),
    (["--algo", "ppo", "--num-mini-batch", "4"], TracedGradient),
    (["--algo", "ppo", "--num-mini-batch", "1"], PlainGradient),
    (["--algo", "ppo", "--num-mini-batch", "4", "--no-fast"], PlainGradient),
    (["--algo", "ppo", "--num-mini-batch", "1", "--recurrent", "gru"], PlainGradient),
    (["--algo", "acktr"], CurvedGradient),
]


@pytest.mark.parametrize(("words", "kind"), GRADIENTS)
def test_how_a_batch_is_differentiated_follows_from_the_settings(
    tmp_path, words, kind, monkeypatch
):
    built = []

    def watched(*arguments, **options):
        built.append(build_gradient(*arguments, **options))
        return built[-1]

    build_gradient = recipes.build_gradient
    monkeypatch.setattr("workers.worker.build_gradient", watched)
    task = bandit_task(tmp_path, *words)
    program = trace_gradient(task.config, build_model(task.config, SPACES))
    make_trainer(dataclasses.replace(task, program=program))
    assert [type(gradient) for gradient in built] == [kind]


def test_the_traced_gradient_is_the_plain_one(tmp_path):
    words = ["--algo", "ppo", "--num-mini-batch", "4", "--exchange", "hogwild"]
    task = bandit_task(tmp_path, *words)
    program = trace_gradient(task.config, build_model(task.config, SPACES))
    gradients = []
    for one in (task, dataclasses.replace(task, program=program)):
        trainer = make_trainer(one)
        trainer.learner.pull()
        batch = next(iter(trainer.algorithm.batches(trainer.prepare(trainer.actor.play()))))
        gradients.append(trainer.learner.gradient(batch).gradient.clone())
    torch.testing.assert_close(*gradients)


def test_without_shared_statistics_a_worker_has_its_own(tmp_path):
    for words, shared in (([], True), (["--no-shared"], False)):
        task = bandit_task(tmp_path, *words)
        trainer = make_trainer(task)
        trainer.run()
        assert bool(task.memory.statistics.tensor.any()) == shared


def test_memory_copies_what_a_run_goes_on_from(tmp_path):
    config = bandit_task(tmp_path, "--algo", "acktr").config
    memory = shared_memory(config, SPACES)
    copied = memory.copy()
    assert [*copied] == ["parameters", "statistics", "normaliser", "returns", "counters"]
    expected = copied["parameters"].clone()
    memory.parameters.tensor.zero_()
    torch.testing.assert_close(copied["parameters"], expected)
