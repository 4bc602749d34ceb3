import dataclasses
import functools

import pytest
import torch
from torch import Tensor

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.networks.heads import DiagonalGaussian
from a3c.ppo import ProximalPolicyOptimization
from tests.a3c.segments import advantages_of, losses, make_model, make_segment, unroll


@pytest.mark.parametrize("normalize", [False, True])
def test_the_critic_may_learn_returns_of_another_lambda(normalize):
    segment = make_segment(make_model(), 9, 2)
    common = {"gamma": 0.9, "entropy_coef": 0.0, "value_loss_coef": 1.0}

    def worth(gae_lambda: float, value_gae_lambda: float | None = None) -> tuple[Tensor, Tensor]:
        algorithm = AdvantageActorCritic(
            **common,
            gae_lambda=gae_lambda,
            value_gae_lambda=value_gae_lambda,
            normalize_advantages=normalize,
        )
        return algorithm.targets(segment)

    advantages, returns = worth(0.5, 1.0)
    torch.testing.assert_close(advantages, worth(0.5)[0])
    torch.testing.assert_close(returns, worth(1.0)[1])
    assert not torch.allclose(returns, worth(0.5)[1])


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
def test_loss_equals_the_algorithm_of_the_paper_step_by_step(loss_reduction):
    model, (T, B) = make_model(), (9, 2)
    segment = make_segment(model, T, B)
    algorithm = AdvantageActorCritic(
        gamma=0.9,
        gae_lambda=1.0,
        entropy_coef=0.02,
        value_loss_coef=0.3,
        loss_reduction=loss_reduction,
    )
    ((loss, statistics),) = losses(algorithm, model, segment)
    policy, values = unroll(model, segment)
    expected = torch.zeros(())
    for b in range(B):
        R = segment.next_values[-1, b]
        for t in reversed(range(T)):
            if segment.terminated[t, b]:
                R = torch.zeros(())
            elif segment.truncated[t, b] or t == T - 1:
                R = segment.next_values[t, b]
            R = segment.rewards[t, b] + 0.9 * R
            distribution = torch.distributions.Categorical(logits=policy[t, b])
            advantage = (R - values[t, b]).detach()
            expected = expected - distribution.log_prob(segment.actions[t, b]) * advantage
            expected = expected + 0.3 * (R - values[t, b]) ** 2 - 0.02 * distribution.entropy()
    torch.testing.assert_close(loss, expected / (T * B if loss_reduction == "mean" else 1))
    assert not any(value.requires_grad for value in statistics.values())


def test_values_of_the_unroll_are_those_that_were_acted():
    model = make_model()
    segment = make_segment(model, 6, 2)
    _, values = unroll(model, segment)
    torch.testing.assert_close(values, segment.values)


def test_entropy_can_be_weighed_by_the_advantages():
    model = make_model()
    segment = make_segment(model, 9, 2)
    settings = {"gamma": 0.9, "gae_lambda": 0.7, "value_loss_coef": 0.3}
    advantages = advantages_of(segment, gamma=0.9, gae_lambda=0.7)
    scale = float(advantages.pow(2).mean() ** 0.5)
    ((scaled, _),) = losses(
        AdvantageActorCritic(**settings, entropy_coef=0.02, entropy_scale="advantage"),
        model,
        segment,
    )
    ((constant, _),) = losses(
        AdvantageActorCritic(**settings, entropy_coef=0.02 * scale), model, segment
    )
    ((without, _),) = losses(AdvantageActorCritic(**settings, entropy_coef=0.0), model, segment)
    torch.testing.assert_close(scaled, constant)
    assert abs(float((scaled - without).detach())) > 1e-4


@pytest.mark.parametrize(
    "algorithm",
    [
        AdvantageActorCritic,
        functools.partial(
            ProximalPolicyOptimization, clip_param=0.1, ppo_epoch=1, num_mini_batch=1
        ),
    ],
)
def test_means_beyond_the_bounds_cost(algorithm):
    model = make_model(
        DiagonalGaussian(3, initial_log_std=0.0, state_dependent_std=False, bounds="clip")
    )
    with torch.no_grad():
        model.actor.bias.copy_(torch.tensor([2.0, -1.5, 0.0]))
    segment = make_segment(model, 9, 2)
    settings = {"gamma": 0.9, "gae_lambda": 0.7, "value_loss_coef": 0.3, "entropy_coef": 0.0}
    ((with_bounds, _),) = losses(algorithm(**settings, bounds_loss_coef=0.4), model, segment)
    ((without, _),) = losses(algorithm(**settings), model, segment)
    policy, _ = unroll(model, segment)
    squares = [max(abs(mean) - 1, 0) ** 2 for mean in policy.flatten().tolist()]
    torch.testing.assert_close(
        float((with_bounds - without).detach()), 0.4 * sum(squares) / 18, rtol=1e-4, atol=1e-6
    )
    assert sum(squares) > 1


@pytest.mark.parametrize("loss_reduction", ["mean", "sum"])
def test_segments_of_different_lengths_make_the_gradient_of_one_batch(loss_reduction):
    """A weighted mean counts each step alike; so does a sum without any weight."""
    model = make_model(recurrent="none")
    whole = make_segment(model, 5, 4)
    algorithm = AdvantageActorCritic(
        gamma=0.9,
        gae_lambda=1.0,
        entropy_coef=0.02,
        value_loss_coef=0.3,
        loss_reduction=loss_reduction,
    )

    def gradient(batch):
        loss, _ = algorithm.loss(model, batch)
        return [*torch.autograd.grad(loss, [*model.parameters()])]

    (batch,) = algorithm.batches(whole)
    together = gradient(batch)
    mean = [torch.zeros_like(part) for part in together]
    for environments in ([0], [1, 2, 3]):
        part = whole.of(torch.tensor(environments))
        part = dataclasses.replace(part, weight=len(environments) / 2)
        (batch,) = algorithm.batches(part)
        assert batch.weight == (part.weight if loss_reduction == "mean" else 1)
        for total, own in zip(mean, gradient(batch), strict=True):
            total += batch.weight * own / 2
    scale = 1 if loss_reduction == "mean" else 2  # half of the sum over both
    torch.testing.assert_close([scale * part for part in mean], together)


def test_the_scale_of_the_entropy_is_that_of_all_workers_steps():
    model = make_model(recurrent="none")
    whole = make_segment(model, 5, 4)
    algorithm = AdvantageActorCritic(
        gamma=0.9,
        gae_lambda=1.0,
        entropy_coef=0.02,
        value_loss_coef=0.3,
        entropy_scale="advantage",
    )
    (expected,) = algorithm.batches(whole)
    squares = []
    for environments in ([0], [1, 2, 3]):
        part = whole.of(torch.tensor(environments))
        part = dataclasses.replace(part, weight=len(environments) / 2)
        (batch,) = algorithm.batches(part, lambda values: squares.append(values) or values)
        assert batch.entropy_scale == pytest.approx(float(squares[-1]) ** 0.5)
    assert expected.entropy_scale == pytest.approx(float(sum(squares) / 2) ** 0.5)
