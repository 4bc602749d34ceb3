"""How a batch becomes a contribution."""

import math

import pytest
import torch

from a3c.acktr import NaturalActorCritic
from a3c.algorithm import Batch
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from a3c.segment import Segment
from shared_optim.flat import FlatParameters
from workers.gradients import CurvedGradient, TracedGradient
from workers.learner import PlainGradient

T, B = 4, 2


@pytest.fixture
def model() -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(observation_shape=(3,), head=Categorical(2), hidden_size=4)


@pytest.fixture
def parameters(model) -> FlatParameters:
    return FlatParameters(model)


@pytest.fixture
def segment(model) -> Segment:
    segment = Segment.seen(
        observations=torch.randn(T, B, 3),
        starts=torch.zeros(T, B, dtype=torch.bool),
        state=model.initial_state(B),
        actions=torch.randint(2, (T, B)),
    )
    policy = model.unroll(segment.observations, segment.state, segment.starts).policy
    log_probs, _ = model.head.log_prob_and_entropy(policy, segment.actions)
    segment.log_probs.copy_(log_probs.detach())
    return segment


@pytest.fixture
def batch(segment) -> Batch:
    return Batch(steps=segment, advantages=torch.randn(T, B), returns=torch.randn(T, B))


def natural(**fields) -> NaturalActorCritic:
    return NaturalActorCritic(
        gamma=0.9, gae_lambda=1.0, entropy_coef=0.01, value_loss_coef=0.5, **fields
    )


def test_a_plain_gradient_is_autograds(model, parameters, batch):
    algorithm = natural()
    loss, statistics = algorithm.loss(model, batch)
    contribution = PlainGradient(algorithm, model, parameters)(batch, learning_rate=0.1)
    for parameter in model.parameters():
        (expected,) = torch.autograd.grad(loss, parameter, retain_graph=True)
        start = parameters.start(parameter)
        got = contribution.gradient[start : start + parameter.numel()].view(parameter.shape)
        torch.testing.assert_close(got, expected)
    assert contribution.learning_rate == 0.1
    assert contribution.divergence is None
    assert contribution.samples() == ()
    assert contribution.statistics == {name: float(value) for name, value in statistics.items()}


class Program:
    """A traced gradient of 1, for as many tensors of one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def fits(self, tensors):
        return tensors[-1].shape == self.shape

    def __call__(self, tensors):
        return torch.ones(1), {"entropy": 2.0}


@pytest.mark.parametrize("fits", [True, False])
def test_a_batch_that_the_program_does_not_fit_is_differentiated_plainly(
    model, parameters, batch, fits
):
    plain = PlainGradient(natural(), model, parameters)
    gradient = TracedGradient(Program((T, B) if fits else (T, B + 1)), plain)
    contribution = gradient(batch, learning_rate=0.1)
    if fits:
        assert contribution.gradient.tolist() == [1.0]
        assert contribution.statistics == {"entropy": 2.0}
    else:
        torch.testing.assert_close(contribution.gradient, plain(batch, learning_rate=0.1).gradient)
    assert (contribution.learning_rate, contribution.groups) == (0.1, batch.groups)


def curved(model, parameters, average=lambda means: means.double(), **fields) -> CurvedGradient:
    algorithm = natural(**fields)
    plain = PlainGradient(algorithm, model, parameters)
    return CurvedGradient(plain, algorithm, network=model, model=model, average=average)


def test_samples_are_drawn_where_somebody_wants_them(model, parameters, batch):
    contribution = curved(model, parameters)(batch, learning_rate=0.1)
    torch.manual_seed(1)
    samples = contribution.samples()
    torch.manual_seed(1)
    expected = natural().capture(model, batch.steps).samples
    assert len(samples) == len(expected) == 4
    for (a, g), (expected_a, expected_g) in zip(samples, expected, strict=True):
        torch.testing.assert_close(a, expected_a)
        torch.testing.assert_close(g, expected_g)


def test_how_far_a_segment_moved_the_policy_goes_along_with_the_next_contribution(
    model, parameters, batch
):
    gradient, algorithm = curved(model, parameters, desired_kl=0.01), natural(desired_kl=0.01)
    first = gradient(batch, learning_rate=0.1)
    assert math.isnan(first.divergence)
    assert first.statistics["approx_kl"] == 0.0
    parameters.vector.mul_(1.5)
    gradient.close(batch.steps, moved=True)
    expected = float(algorithm.divergence(model, batch.steps))
    assert expected > 0
    second, third = (gradient(batch, learning_rate=0.1) for _ in range(2))
    assert second.divergence == expected
    assert math.isnan(third.divergence)  # once is enough
    assert second.statistics["approx_kl"] == third.statistics["approx_kl"] == expected


def test_a_step_that_moved_nothing_has_no_divergence(model, parameters, batch):
    gradient = curved(model, parameters, desired_kl=0.01)
    parameters.vector.mul_(1.5)
    gradient.close(batch.steps, moved=True)
    known = gradient(batch, learning_rate=0.1).statistics["approx_kl"]
    gradient.close(batch.steps, moved=False)
    contribution = gradient(batch, learning_rate=0.1)
    assert math.isnan(contribution.divergence)
    assert contribution.statistics["approx_kl"] == known > 0


def test_the_divergence_is_the_mean_of_all_workers(model, parameters, batch):
    averaged = []

    def average(means):
        averaged.append(means.tolist())
        return torch.tensor([0.25], dtype=torch.float64)

    gradient = curved(model, parameters, average, desired_kl=0.01)
    parameters.vector.mul_(1.5)
    gradient.close(batch.steps, moved=True)
    own = natural().divergence(model, batch.steps).tolist()
    assert averaged == [own]
    assert gradient(batch, learning_rate=0.1).divergence == 0.25


def test_nobody_meets_where_no_divergence_is_desired(model, parameters, batch):
    gradient = curved(model, parameters, average=pytest.fail)
    gradient.close(batch.steps, moved=True)
    contribution = gradient(batch, learning_rate=0.1)
    assert math.isnan(contribution.divergence)
    assert "approx_kl" not in contribution.statistics


def test_a_divergence_outlives_its_process(model, parameters, batch):
    before, after = (curved(model, parameters, desired_kl=0.01) for _ in range(2))
    parameters.vector.mul_(1.5)
    before.close(batch.steps, moved=True)
    after.load_state(before.state())
    known = before(batch, learning_rate=0.1).divergence
    assert after(batch, learning_rate=0.1).divergence == known
    after.load_state({})  # checkpoints of earlier versions have none
    assert math.isnan(after(batch, learning_rate=0.1).divergence)
