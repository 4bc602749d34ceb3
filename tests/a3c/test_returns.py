import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a3c.returns import generalized_advantages, normalized


def slow_advantages(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """The definition: a step's sum of discounted δ until the episode or the segment ends."""
    T, B = rewards.shape
    advantages = np.zeros((T, B))
    for b in range(B):
        for t in range(T):
            weight = 1.0
            for k in range(t, T):
                successor = 0.0 if terminated[k, b] else next_values[k, b]
                advantages[t, b] += weight * (rewards[k, b] + gamma * successor - values[k, b])
                if terminated[k, b] or truncated[k, b]:
                    break
                weight *= gamma * gae_lambda
    return advantages


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 3), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31)
)
def test_equals_the_definition_through_episode_ends(T, B, gamma, gae_lambda, seed):
    rng = np.random.default_rng(seed)
    rewards, values, next_values = rng.normal(size=(3, T, B))
    terminated = rng.random((T, B)) < 0.2
    truncated = ~terminated & (rng.random((T, B)) < 0.2)
    fast = generalized_advantages(
        rewards=torch.tensor(rewards),
        values=torch.tensor(values),
        next_values=torch.tensor(next_values),
        terminated=torch.tensor(terminated),
        truncated=torch.tensor(truncated),
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    slow = slow_advantages(rewards, values, next_values, terminated, truncated, gamma, gae_lambda)
    np.testing.assert_allclose(fast.numpy(), slow, atol=1e-12)


@pytest.mark.parametrize(
    ("terminated", "expected"), [(True, 1.0 - 0.5), (False, 1.0 + 0.9 * 4.0 - 0.5)]
)
def test_only_termination_makes_the_successor_worthless(terminated, expected):
    one = torch.ones(1, 1)
    advantage = generalized_advantages(
        rewards=one,
        values=0.5 * one,
        next_values=4.0 * one,
        terminated=torch.tensor([[terminated]]),
        truncated=torch.tensor([[not terminated]]),
        gamma=0.9,
        gae_lambda=1.0,
    )
    assert advantage.item() == pytest.approx(expected)


def test_normalised_advantages_have_mean_0_and_deviation_1_over_all_workers_steps():
    """Workers with different numbers of steps have the numbers of one batch."""
    torch.manual_seed(0)
    advantages = 3 * torch.randn(6, 4) + 2
    expected = (advantages - advantages.mean()) / advantages.std(correction=0)
    parts = [advantages[:, :1], advantages[:, 1:]]
    weights, moments = [0.5, 1.5], []  # 6 and 18 steps, 12 on average

    def gather(values):
        moments.append(values)
        return values

    for part, weight in zip(parts, weights, strict=True):
        normalized(part, gather, weight=weight)
    mean = torch.stack(moments).mean(0)
    found = [
        normalized(part, lambda _: mean, weight=weight)
        for part, weight in zip(parts, weights, strict=True)
    ]
    torch.testing.assert_close(torch.cat(found, 1), expected)
    torch.testing.assert_close(normalized(advantages), expected)


def test_advantages_that_do_not_differ_are_normalised_to_zero():
    assert not normalized(torch.full((3, 2), 5.0)).any()
