"""What the Fisher matrix is made of, against loops over single steps."""

import pytest
import torch

from a3c.acktr import CRITIC, POLICY, NaturalActorCritic
from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical, DiagonalGaussian
from a3c.segment import Segment
from tests.a3c.segments import make_model, make_segment, unroll

SETTINGS = {"gamma": 0.9, "gae_lambda": 0.8, "entropy_coef": 0.02, "value_loss_coef": 0.3}


def test_gradients_are_those_of_each_steps_own_likelihood():
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(4,), head=Categorical(3), activation="tanh", hidden_size=8
    )
    segment = make_segment(model, 5, 2)
    captured = NaturalActorCritic(**SETTINGS, value_fisher_coef=0.0).capture(model, segment)
    flat = {tuple(row.tolist()): n for n, row in enumerate(segment.observations.flatten(0, 1))}
    (first, _), (actor_in, actor_g) = captured.samples[0], captured.samples[-2]
    assert sorted(flat[tuple(row.tolist())] for row in first[:, :-1]) == [*range(10)]
    for row, features, g in zip(first, actor_in, actor_g, strict=True):
        n = flat[tuple(row[:-1].tolist())]
        logits = (model.actor.weight @ features[:-1] + model.actor.bias).detach().requires_grad_()
        action = segment.actions.flatten()[n]
        (expected,) = torch.autograd.grad(
            torch.distributions.Categorical(logits=logits).log_prob(action), logits
        )
        torch.testing.assert_close(g, expected)


def test_values_are_sampled_with_deviation_one():
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(4,), head=Categorical(3), activation="tanh", hidden_size=8
    )
    algorithm = NaturalActorCritic(**SETTINGS, value_fisher_coef=0.25)
    segment = make_segment(model, 100, 40)
    _, g = algorithm.capture(model, segment).samples[-1]
    assert g.shape == (4000, 1)
    torch.testing.assert_close(float(g.std()), 0.5, atol=0.03, rtol=0)
    torch.testing.assert_close(float(g.mean()), 0.0, atol=0.03, rtol=0)


@pytest.mark.parametrize(("recurrent", "expected"), [("none", 7), ("lstm", 2 * 5)])
def test_some_steps_stand_for_all_in_whole_sequences_where_a_state_is_carried(recurrent, expected):
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(4,), head=Categorical(3), recurrent=recurrent, hidden_size=8
    )
    segment = make_segment(model, 5, 6)
    captured = NaturalActorCritic(**SETTINGS, fisher_steps=7).capture(model, segment)
    assert {len(a) for a, _ in captured.samples} == {expected}
    maps = {weight.shape for weight, *_ in captured.maps}
    assert ((32, 8) in maps) == (recurrent == "lstm")  # both of the cell's maps


def test_the_fisher_matrix_of_log_std_is_twice_the_identity():
    """E[∂ log N / ∂ log σ_i ∂ log N / ∂ log σ_j] over drawn actions."""
    torch.manual_seed(0)
    head = DiagonalGaussian(2, initial_log_std=0.3, state_dependent_std=False, bounds="clip")
    means = torch.zeros(1, 2)
    scores = []
    for noise in torch.randn(4000, 2):
        action = head.sample(means, noise).detach()
        log_prob, _ = head.log_prob_and_entropy(means, action)
        scores.append(torch.autograd.grad(log_prob.sum(), head.log_std)[0])
    score = torch.stack(scores)
    torch.testing.assert_close(score.t() @ score / len(score), 2 * torch.eye(2), atol=0.4, rtol=0)


def test_the_loss_is_the_advantage_actor_critics():
    model = make_model()
    segment = make_segment(model, 9, 2)
    losses = []
    for algorithm in (NaturalActorCritic(**SETTINGS), AdvantageActorCritic(**SETTINGS)):
        (batch,) = algorithm.batches(segment)
        losses.append(algorithm.loss(model, batch))
    assert losses[0] == losses[1]


def test_the_critic_moves_as_often_as_asked_before_the_policy():
    model = make_model()
    segment = make_segment(model, 9, 2)
    batches = [
        *NaturalActorCritic(**SETTINGS, turns=3 * ((CRITIC,),) + ((POLICY,),)).batches(segment)
    ]
    assert [batch.groups for batch in batches] == 3 * [(CRITIC,)] + [(POLICY,)]
    assert all(
        torch.equal(batch.advantages, segment.advantages(gamma=0.9, gae_lambda=0.8))
        for batch in batches
    )


def test_the_divergence_is_that_of_the_policy_that_acted_from_the_present_one():
    torch.manual_seed(0)
    head = DiagonalGaussian(2, initial_log_std=0.3, state_dependent_std=False, bounds="clip")
    model = ActorCritic(observation_shape=(4,), head=head, activation="tanh", hidden_size=8)
    segment = make_segment(model, 200, 40)
    algorithm = NaturalActorCritic(**SETTINGS)
    assert float(algorithm.divergence(model, segment)) == pytest.approx(0.0, abs=1e-6)
    before = torch.distributions.Normal(
        unroll(model, segment)[0].detach(), head.log_std.detach().exp().clone()
    )
    with torch.no_grad():
        model.actor.weight.add_(0.02 * torch.randn_like(model.actor.weight))
        head.log_std.sub_(0.1)
    after = torch.distributions.Normal(
        unroll(model, segment)[0].detach(), head.log_std.detach().exp()
    )
    expected = torch.distributions.kl_divergence(before, after).sum(-1).mean()
    torch.testing.assert_close(
        algorithm.divergence(model, segment), expected.unsqueeze(0), rtol=0.05, atol=0
    )


def test_samples_are_float32_whatever_the_networks_precision_and_leave_it_as_it_is():
    torch.manual_seed(0)
    observations = torch.randint(0, 255, (4, 3, 1, 42, 42)).to(torch.uint8)
    found = []
    for precision in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = ActorCritic(
            observation_shape=(1, 42, 42),
            head=Categorical(3),
            hidden_size=8,
            precision=precision,
        )
        segment = Segment.seen(
            observations=observations,
            starts=torch.zeros(4, 3, dtype=torch.bool),
            state=model.initial_state(3),
            actions=torch.zeros(4, 3, dtype=torch.int64),
        )
        found.append(NaturalActorCritic(**SETTINGS).capture(model, segment).samples)
        assert model.precision == precision
    torch.testing.assert_close(found[1], found[0])
