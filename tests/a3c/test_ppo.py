import pytest
import torch

from a3c.algorithm import Batch
from a3c.networks.actor_critic import ActorCritic
from a3c.ppo import ProximalPolicyOptimization
from tests.a3c.segments import advantages_of, losses, make_model, make_segment, unroll

SETTINGS = {
    "gamma": 0.9,
    "gae_lambda": 0.8,
    "normalize_advantages": True,
    "entropy_coef": 0.02,
    "value_loss_coef": 0.3,
    "clip_param": 0.1,
}


def move(model: ActorCritic) -> None:
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))


def test_loss_equals_the_clipped_objective_step_by_step():
    model, (T, B) = make_model(), (9, 2)
    segment = make_segment(model, T, B)
    move(model)
    algorithm = ProximalPolicyOptimization(**SETTINGS, ppo_epoch=1, num_mini_batch=1)
    ((loss, _),) = losses(algorithm, model, segment)
    advantages = advantages_of(segment, gamma=0.9, gae_lambda=0.8)
    normalised = (advantages - advantages.mean()) / advantages.std(correction=0)
    policy, values = unroll(model, segment)
    expected, num_clipped = torch.zeros(()), 0
    for t in range(T):
        for b in range(B):
            distribution = torch.distributions.Categorical(logits=policy[t, b])
            ratio = (distribution.log_prob(segment.actions[t, b]) - segment.log_probs[t, b]).exp()
            A, R = normalised[t, b], advantages[t, b] + segment.values[t, b]
            beyond = (A > 0 and ratio > 1.1) or (A < 0 and ratio < 0.9)
            num_clipped += bool(beyond)
            expected = expected - (1.0 + 0.1 * A.sign() if beyond else ratio) * A
            expected = expected + 0.3 * (R - values[t, b]) ** 2 - 0.02 * distribution.entropy()
    torch.testing.assert_close(loss, expected / (T * B))
    assert 0 < num_clipped < T * B


def test_before_anything_has_moved_the_gradient_is_the_policy_gradients():
    model = make_model()
    segment = make_segment(model, 9, 2)
    settings = SETTINGS | {"entropy_coef": 0.0, "value_loss_coef": 0.0}
    ((loss, _),) = losses(
        ProximalPolicyOptimization(**settings, ppo_epoch=1, num_mini_batch=1), model, segment
    )
    advantages = advantages_of(segment, gamma=0.9, gae_lambda=0.8)
    advantages = (advantages - advantages.mean()) / advantages.std(correction=0)
    log_probs, _ = model.head.log_prob_and_entropy(unroll(model, segment)[0], segment.actions)
    plain = -(log_probs * advantages).mean()
    parameters = [*model.parameters()]
    mine, reference = (
        torch.autograd.grad(x, parameters, materialize_grads=True) for x in (loss, plain)
    )
    for a, b in zip(mine, reference, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_advantages_stay_as_they_are_unless_normalised():
    model = make_model()
    segment = make_segment(model, 9, 2)
    algorithm = ProximalPolicyOptimization(
        **SETTINGS | {"normalize_advantages": False}, ppo_epoch=1, num_mini_batch=1
    )
    (batch,) = algorithm.batches(segment)
    assert torch.equal(batch.advantages, segment.advantages(gamma=0.9, gae_lambda=0.8))


@pytest.mark.parametrize("recurrent", ["none", "lstm"])
def test_every_pass_sees_everything_once_and_the_parameters_as_they_are_then(recurrent):
    """Steps are dealt singly; where the network carries a state, environments are."""
    model = make_model(recurrent=recurrent)
    segment = make_segment(model, 5, 6)
    seen = []
    algorithm = ProximalPolicyOptimization(**SETTINGS, ppo_epoch=2, num_mini_batch=3)
    for batch in algorithm.batches(segment):
        _, statistics = algorithm.loss(model, batch)
        values = unroll(model, batch.steps)[1].detach()
        torch.testing.assert_close(
            statistics["value_loss"], (batch.returns - values).square().mean()
        )
        seen.append((batch.steps.observations[0, :, 0].tolist(), model.critic.bias.item()))
        with torch.no_grad():
            model.critic.bias.add_(1.0)
    assert [bias for _, bias in seen] == [0, 1, 2, 3, 4, 5]
    everything = (
        segment.observations[:1, :, 0] if recurrent == "lstm" else segment.observations[..., 0]
    )
    everything = sorted(everything.flatten().tolist())
    assert [sorted(value for part, _ in seen[i : i + 3] for value in part) for i in (0, 3)] == [
        everything,
        everything,
    ]


def test_values_clipped_earn_nothing_beyond_the_clip():
    model = make_model()
    segment = make_segment(model, 9, 2)
    move(model)
    settings = SETTINGS | {
        "value_loss_coef": 1.0,
        "entropy_coef": 0.0,
        "use_clipped_value_loss": True,
    }
    ((_, told),) = losses(
        ProximalPolicyOptimization(**settings, ppo_epoch=1, num_mini_batch=1), model, segment
    )
    returns = advantages_of(segment, gamma=0.9, gae_lambda=0.8) + segment.values
    _, values = unroll(model, segment)
    near = torch.maximum(torch.minimum(values, segment.values + 0.1), segment.values - 0.1)
    assert not torch.equal(near, values)
    expected = torch.maximum((returns - values) ** 2, (returns - near) ** 2).mean()
    torch.testing.assert_close(told["value_loss"], expected)


def test_sequences_that_are_dealt_to_workers_make_the_gradients_of_all_sequences():
    model, W, minibatches = make_model(), 3, 2
    segment = make_segment(model, 5, W)
    move(model)
    settings = SETTINGS | {"normalize_advantages": False}

    def batches(worker: int) -> list[Batch]:
        algorithm = ProximalPolicyOptimization(
            **settings, ppo_epoch=2, num_mini_batch=minibatches, rank=worker, num_workers=W
        )
        common = iter((0.3, 0.7))  # what all draw in each pass
        return list(
            algorithm.batches(
                segment.of(torch.tensor([worker])), lambda _: torch.tensor(next(common))
            )
        )

    def gradient(batch: Batch) -> torch.Tensor:
        loss, _ = alone.loss(model, batch)
        return torch.cat(
            [part.flatten() for part in torch.autograd.grad(loss, [*model.parameters()])]
        )

    alone = ProximalPolicyOptimization(**settings, ppo_epoch=1, num_mini_batch=1)
    (whole,) = alone.batches(segment)
    seen = []
    for parts in zip(*(batches(worker) for worker in range(W)), strict=True):
        own = torch.tensor([worker for worker, part in enumerate(parts) if part.weight])
        assert [part.steps.rewards.shape[1] for part in parts] == [
            int(worker in own) for worker in range(W)
        ]
        together = Batch(
            steps=segment.of(own),
            advantages=whole.advantages[:, own],
            returns=whole.returns[:, own],
        )
        mean = sum(part.weight * gradient(part) for part in parts if part.weight) / W
        torch.testing.assert_close(mean, gradient(together))
        seen.append(own.tolist())
    assert [sorted(a + b) for a, b in (seen[:2], seen[2:])] == [[0, 1, 2], [0, 1, 2]]
    assert {len(own) for own in seen} == {1, 2}


@pytest.mark.parametrize(("others", "ends"), [(0.05, False), (0.15, True)])
def test_passes_end_where_the_policy_has_moved_far_by_everybodys_measure(others, ends):
    algorithm = ProximalPolicyOptimization(**SETTINGS, ppo_epoch=1, num_mini_batch=1, target_kl=0.1)
    assert algorithm.ends({"approx_kl": 0.12}, lambda values: (values + others) / 2) is ends


def test_without_a_target_they_end_when_all_are_done():
    algorithm = ProximalPolicyOptimization(**SETTINGS, ppo_epoch=1, num_mini_batch=1)
    assert not algorithm.ends({"approx_kl": 9.0})
