"""What a worker contributes: at which rate, with which weight, and what is not applied."""

import dataclasses
import math

import pytest
import torch

from a3c.acktr import CRITIC, POLICY
from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.algorithm import Batch
from a3c.segment import Segment
from shared_optim.contribution import Applied, Contribution
from tests.workers.tasks import bandit_task, make_trainer, together
from workers.learner import MAX_BAD_SEGMENTS, Gradient, Learner, LearningRate
from workers.progress import SUMS
from workers.trainer import Trainer
from workers.worker import Task


class Given(Gradient):
    """The same gradient and statistics for every batch."""

    def __init__(self, gradient: torch.Tensor, **statistics: float) -> None:
        self.gradient, self.statistics = gradient, statistics

    def __call__(self, batch: Batch, *, learning_rate: float) -> Contribution:
        return Contribution(
            gradient=self.gradient.clone(),
            learning_rate=learning_rate,
            groups=batch.groups,
            statistics=dict(self.statistics),
        )


@pytest.fixture
def task(tmp_path) -> Task:
    return bandit_task(tmp_path)


def learner_with(gradient: Gradient, trainer: Trainer, task: Task) -> Learner:
    """Return the trainer's learner with another gradient."""
    return Learner(
        parameters=trainer.learner.parameters,
        gradient=gradient,
        exchange=trainer.learner.exchange,
        learning_rate=trainer.learner.learning_rate,
        progress=task.memory.progress,
        worker=trainer.worker,
    )


def some_batch(trainer: Trainer, **fields) -> Batch:
    segment = trainer.actor.play()
    return Batch(steps=segment, advantages=segment.rewards, returns=segment.rewards, **fields)


def test_the_learning_rate_falls_to_zero_with_the_steps_and_not_below():
    learning_rate = LearningRate(1.0, of_groups={(CRITIC,): 0.5}, falls_until=60)
    assert (learning_rate(), learning_rate((CRITIC,))) == (1.0, 0.5)
    learning_rate.steps = 45
    assert (learning_rate(), learning_rate((CRITIC,))) == (0.25, 0.125)
    learning_rate.steps = 70
    assert (learning_rate(), learning_rate((CRITIC,))) == (0.0, 0.0)


def test_a_constant_learning_rate_stays_as_it_is():
    learning_rate = LearningRate(1.0, of_groups={}, falls_until=None)
    learning_rate.steps = 10**9
    assert learning_rate() == learning_rate((CRITIC,)) == 1.0


def test_the_critics_own_updates_have_a_learning_rate_of_their_own(task):
    config = dataclasses.replace(task.config, lr=1.0, value_lr=0.5)
    trainer = make_trainer(dataclasses.replace(task, config=config))
    for groups, expected in (((), 1.0), ((POLICY,), 1.0), ((CRITIC,), 0.5)):
        contribution = trainer.learner.gradient(some_batch(trainer, groups=groups))
        assert (contribution.learning_rate, contribution.groups) == (expected, groups)


def test_a_batch_weighs_its_gradient_and_what_its_loss_was_made_of(task):
    trainer = make_trainer(task)
    given = Given(torch.ones(4), entropy=3.0)
    learner = learner_with(given, trainer, task)
    for weight in (1.0, 0.5):
        contribution = learner.gradient(some_batch(trainer, weight=weight))
        assert contribution.gradient.tolist() == 4 * [weight]
        assert contribution.statistics == {"entropy": weight * 3.0}


def test_a_batch_without_steps_contributes_zeros(task):
    trainer = make_trainer(task)
    steps = trainer.actor.play().of(torch.zeros(0, dtype=torch.int64))
    batch = Batch(steps=steps, advantages=steps.rewards, returns=steps.rewards, weight=0.0)
    contribution = trainer.learner.gradient(batch)
    assert contribution.gradient.shape == task.memory.parameters.tensor.shape
    assert not contribution.gradient.any()
    assert contribution.statistics["approx_kl"] == 0.0  # whatever is looked up


def push(trainer: Trainer, value: float) -> None:
    gradient = torch.full_like(trainer.learner.parameters.vector, value)
    trainer.learner.push(Contribution(gradient=gradient, learning_rate=1e-3))


def test_gradients_that_are_not_finite_are_dropped(task):
    trainer, progress = make_trainer(task), task.memory.progress
    trainer.learner.pull()
    before = task.memory.parameters.tensor.clone()
    for value in (math.nan, math.inf):
        push(trainer, value)
    torch.testing.assert_close(task.memory.parameters.tensor, before, rtol=0.0, atol=0.0)
    assert progress.total("dropped_gradients") == 2
    assert progress.total("updates") == progress.total("contributions") == 0
    push(trainer, 1.0)
    assert progress.total("updates") == progress.total("contributions") == 1
    assert not torch.equal(task.memory.parameters.tensor, before)


# Where a worker's own segment is sound, others' may be broken.
@pytest.mark.parametrize(
    ("sound", "most"), [(False, MAX_BAD_SEGMENTS), (True, 2 * MAX_BAD_SEGMENTS)]
)
def test_too_many_segments_of_them_end_the_worker(task, sound, most):
    trainer = make_trainer(task)
    segment = trainer.actor.play()
    if not sound:
        rewards = torch.full_like(segment.rewards, math.nan)
        segment = dataclasses.replace(segment, rewards=rewards)
    close = trainer.learner.close
    for _ in range(most - 1):
        push(trainer, math.nan)
        close(segment)
    push(trainer, 1.0)
    close(segment)  # a good segment: they are counted from the beginning again
    for _ in range(most - 1):
        push(trainer, math.nan)  # one of a segment's gradients is enough
        push(trainer, 1.0)
        close(segment)
    push(trainer, math.nan)
    with pytest.raises(FloatingPointError, match=f"gradients of {most} segments in a row"):
        close(segment)


SIZES = ["--distributed-step-size", "2", "6", "--loss-reduction"]


@pytest.mark.parametrize(
    "words", [["--algo", "a2c"], ["--algo", "ppo", "--num-mini-batch", "2"]], ids=["a2c", "ppo"]
)
def test_at_a_barrier_every_step_counts_alike_however_long_a_workers_segments_are(tmp_path, words):
    task = bandit_task(tmp_path, *words, *SIZES, "mean")
    P, means = task.memory.parameters.tensor.numel(), {}

    def life(trainer: Trainer) -> None:
        own = 1.0 - trainer.worker
        learner = learner_with(Given(torch.full((P,), own), entropy=own), trainer, task)
        segment, average = trainer.actor.play(), learner.exchange.average
        assert len(segment.rewards) == (2, 6)[trainer.worker]
        mean = segment.weight * torch.tensor([own])
        means[trainer.worker] = float(average(mean))
        batch = next(iter(trainer.algorithm.batches(segment, average)))
        learner.push(learner.gradient(batch))

    together(task, life)
    assert means == {0: 0.25, 1: 0.25}
    sums, progress = task.memory.progress.sums, task.memory.progress
    norms = sums[:, SUMS.index("grad_norm")]
    assert norms.tolist() == pytest.approx(2 * [0.25 * math.sqrt(P)])
    entropy = sums[:, SUMS.index("entropy")].sum() / progress.total("contributions")
    assert entropy == pytest.approx(0.25)


def test_in_a_sum_over_steps_they_count_alike_by_themselves(tmp_path):
    task = bandit_task(tmp_path, "--algo", "a2c", *SIZES, "sum")
    weights = {}

    def life(trainer: Trainer) -> None:
        segment, average = trainer.actor.play(), trainer.learner.exchange.average
        (batch,) = trainer.algorithm.batches(segment, average)
        weights[trainer.worker] = batch.weight

    together(task, life)
    assert weights == {0: 1.0, 1: 1.0}


def test_the_mean_gradient_is_that_of_all_workers_steps(tmp_path):
    task = bandit_task(tmp_path, "--algo", "a2c", *SIZES, "mean")
    contributions, expected = {}, {}

    def life(trainer: Trainer) -> None:
        trainer.learner.pull()
        segment, average = trainer.actor.play(), trainer.learner.exchange.average
        (batch,) = trainer.algorithm.batches(segment, average)
        contributions[trainer.worker] = trainer.learner.gradient(batch).gradient.clone()
        assert isinstance(trainer.algorithm, AdvantageActorCritic)
        summed = dataclasses.replace(trainer.algorithm, loss_reduction="sum")
        loss, _ = summed.loss(trainer.model, batch)
        expected[trainer.worker] = trainer.learner.parameters.gradient(loss).clone()

    together(task, life)
    torch.testing.assert_close(
        (contributions[0] + contributions[1]) / 2, (expected[0] + expected[1]) / (2 + 6)
    )


def test_each_segment_of_whole_episodes_is_weighed(tmp_path):
    words = ["--algo", "a3c", "--loss-reduction", "mean", "--whole-episodes"]
    task = bandit_task(tmp_path, *words)
    trainer, norms = make_trainer(task), []

    def weigh(segment: Segment) -> Segment:
        return dataclasses.replace(segment, weight=len(segment.rewards) / 40)

    def push(contribution: Contribution) -> Applied:
        norms.append(float(contribution.gradient.norm()))
        return Applied(norms[-1], 1.0)

    trainer.preparations = [weigh]
    trainer.learner = learner_with(Given(torch.ones(4)), trainer, task)
    trainer.learner.exchange.push = push
    trainer.run()
    lengths = task.memory.progress.column("steps")[1] / len(norms)
    assert norms == pytest.approx([2 * lengths / 40] * len(norms))
