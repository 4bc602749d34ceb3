import dataclasses
import pickle

import pytest
import torch

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.heads import Categorical, DiagonalGaussian, MultiCategorical
from a3c.model import ActorCritic
from a3c.ppo import ProximalPolicyOptimization
from a3c.recording import Recording
from a3c.tracing import TracedGradient, trace
from shared_optim.flat import FlatParameters
from tests.a3c.test_advantage_actor_critic import make_segment

SETTINGS = {
    "gamma": 0.9,
    "gae_lambda": 0.8,
    "entropy_coef": 0.02,
    "value_loss_coef": 0.3,
    "bounds_loss_coef": 0.1,
}
PPO = {
    **SETTINGS,
    "clip_param": 0.1,
    "num_epochs": 3,
    "num_mini_batch": 4,
    "normalize_advantages": True,
}
GAUSSIAN = {"initial_log_std": -0.3, "bounds": "clip", "state_dependent_std": False}


@pytest.mark.parametrize(
    ("head", "algorithm", "shared"),
    [
        (Categorical(3), ProximalPolicyOptimization(**PPO), 2),
        (MultiCategorical((3, 2)), ProximalPolicyOptimization(**PPO), 1),
        (DiagonalGaussian(3, **GAUSSIAN), ProximalPolicyOptimization(**PPO, clip_values=True), 0),
        (
            DiagonalGaussian(3, **GAUSSIAN | {"state_dependent_std": True}),
            ProximalPolicyOptimization(**PPO),
            0,
        ),
        (
            DiagonalGaussian(3, **GAUSSIAN | {"bounds": "squash"}),
            ProximalPolicyOptimization(**PPO),
            0,
        ),
        (
            DiagonalGaussian(3, **GAUSSIAN),
            AdvantageActorCritic(**SETTINGS, loss_reduction="sum"),
            0,
        ),
    ],
)
def test_the_traced_gradient_is_autograds_whatever_has_moved_since(head, algorithm, shared):
    torch.manual_seed(0)
    model = ActorCritic(
        observation_shape=(4,),
        head=head,
        activation="tanh",
        hidden_size=16,
        num_shared_layers=shared,
        observation_clip=2.0,
    )
    parameters = FlatParameters(model)
    segment = make_segment(model, 9, 4)
    first = next(algorithm.batches(segment))
    traced = TracedGradient(pickle.loads(pickle.dumps(trace(algorithm, model, first))), model)
    for i, batch in enumerate([*algorithm.batches(segment)] * 3):
        assert traced.fits(batch)
        loss, statistics = algorithm.loss(model, batch)
        expected, gradient_and_statistics = parameters.gradient(loss), traced(batch)
        torch.testing.assert_close(gradient_and_statistics[0], expected)
        assert gradient_and_statistics[1] == pytest.approx(
            {name: float(value) for name, value in statistics.items()}, rel=1e-5, abs=1e-6
        )
        parameters.vector.add_(torch.randn(parameters.vector.shape), alpha=0.03)
        model.observation_mean.fill_(0.1 * i)
        model.observation_inverse_std.fill_(1 + 0.1 * i)


def test_batches_of_another_size_or_with_a_recording_are_left_to_autograd():
    model = ActorCritic(observation_shape=(4,), head=Categorical(3), hidden_size=8)
    algorithm = ProximalPolicyOptimization(**{**PPO, "num_mini_batch": 5})
    batches = [*algorithm.batches(make_segment(model, 9, 4))]
    traced = TracedGradient(trace(algorithm, model, batches[0]), model)
    assert [batch.advantages.numel() for batch in batches[:5]] == [7, 7, 7, 7, 8]
    assert [traced.fits(batch) for batch in batches[:5]] == [True] * 4 + [False]
    recorded = dataclasses.replace(batches[0].steps, recording=Recording(1, 7))
    assert not traced.fits(dataclasses.replace(batches[0], steps=recorded))
