import functools

import pytest
import torch
from torch import Tensor

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.algorithm import Algorithm, Statistics
from a3c.heads import Categorical, DiagonalGaussian, Head
from a3c.model import ActorCritic
from a3c.ppo import ProximalPolicyOptimization
from a3c.returns import generalized_advantages
from a3c.segment import Segment
from tests.a3c.segments import unrolled


def make_segment(model: ActorCritic, T: int, B: int) -> Segment:
    torch.manual_seed(1)
    observations, starts = torch.randn(T, B, 4), torch.rand(T, B) < 0.2
    state = model.initial_state(B)
    with torch.no_grad():
        policy, values = unrolled(model, observations, state, starts)
        actions = model.head.sample(
            policy, model.head.noise((T, B), torch.Generator().manual_seed(1))
        )
        log_probs, _ = model.head.log_prob_and_entropy(policy, actions)
    terminated = torch.rand(T, B) < 0.2
    truncated = ~terminated & (torch.rand(T, B) < 0.2)
    next_values = torch.randn(T, B)
    next_values[:-1] = torch.where(truncated[:-1], next_values[:-1], values[1:])
    return Segment(
        observations=observations,
        starts=starts,
        state=state,
        actions=actions,
        log_probs=log_probs,
        values=values,
        rewards=torch.randn(T, B),
        terminated=terminated,
        truncated=truncated,
        next_values=next_values,
    )


def losses(
    algorithm: Algorithm, model: ActorCritic, segment: Segment
) -> list[tuple[Tensor, Statistics]]:
    return [algorithm.loss(model, batch) for batch in algorithm.batches(segment)]


def make_model(head: Head | None = None) -> ActorCritic:
    torch.manual_seed(0)
    return ActorCritic(
        observation_shape=(4,), head=head or Categorical(3), recurrent="lstm", hidden_size=8
    )


@pytest.mark.parametrize("normalize", [False, True])
def test_the_critic_may_learn_returns_of_another_lambda(normalize):
    segment, common = (
        make_segment(make_model(), 9, 2),
        {"gamma": 0.9, "entropy_coef": 0.0, "value_loss_coef": 1.0},
    )

    def worth(gae_lambda: float, value_gae_lambda: float | None = None) -> tuple[Tensor, Tensor]:
        lambdas = {"gae_lambda": gae_lambda, "value_gae_lambda": value_gae_lambda}
        return AdvantageActorCritic(**common, **lambdas, normalize_advantages=normalize).targets(
            segment
        )

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
    policy, values = model.unroll(segment)
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
    _, values = model.unroll(segment)
    torch.testing.assert_close(values, segment.values)


def test_entropy_can_be_weighed_by_the_advantages():
    model = make_model()
    segment = make_segment(model, 9, 2)
    settings = {"gamma": 0.9, "gae_lambda": 0.7, "value_loss_coef": 0.3}
    names = ("rewards", "values", "next_values", "terminated", "truncated")
    advantages = generalized_advantages(
        **{name: getattr(segment, name) for name in names}, gamma=0.9, gae_lambda=0.7
    )
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
            ProximalPolicyOptimization, clip_param=0.1, num_epochs=1, num_mini_batch=1
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
    policy, _ = model.unroll(segment)
    squares = [max(abs(mean) - 1, 0) ** 2 for mean in policy.flatten().tolist()]
    torch.testing.assert_close(
        float((with_bounds - without).detach()), 0.4 * sum(squares) / 18, rtol=1e-4, atol=1e-6
    )
    assert sum(squares) > 1
