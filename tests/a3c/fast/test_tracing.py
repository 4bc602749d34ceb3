import pickle

import pytest
import torch
from torch import Tensor, nn

from a3c.advantage_actor_critic import AdvantageActorCritic
from a3c.algorithm import Algorithm, Batch
from a3c.fast.tracing import BoundGradient, Program, trace
from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical, DiagonalGaussian, MultiCategorical
from a3c.ppo import ProximalPolicyOptimization
from shared_optim.flat import FlatParameters
from tests.a3c.segments import make_segment

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
    "ppo_epoch": 3,
    "num_mini_batch": 4,
    "normalize_advantages": True,
}
GAUSSIAN = {"initial_log_std": -0.3, "bounds": "clip", "state_dependent_std": False}


def traced(algorithm: Algorithm, model: ActorCritic, batch: Batch) -> Program:
    def loss(module: ActorCritic, tensors: tuple[Tensor, ...]):
        return algorithm.loss(module, Batch.from_tensors(tensors))

    return trace(loss, model, batch.tensors())


@pytest.mark.parametrize(
    ("head", "algorithm", "shared"),
    [
        (Categorical(3), ProximalPolicyOptimization(**PPO), 2),
        (MultiCategorical((3, 2)), ProximalPolicyOptimization(**PPO), 1),
        (
            DiagonalGaussian(3, **GAUSSIAN),
            ProximalPolicyOptimization(**PPO, use_clipped_value_loss=True),
            0,
        ),
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
    program = traced(algorithm, model, next(algorithm.batches(segment)))
    bound = BoundGradient(pickle.loads(pickle.dumps(program)), model)
    for i, batch in enumerate([*algorithm.batches(segment)] * 3):
        assert bound.fits(batch.tensors())
        loss, statistics = algorithm.loss(model, batch)
        expected = parameters.gradient(loss)
        gradient, found = bound(batch.tensors())
        torch.testing.assert_close(gradient, expected)
        numbers = {name: float(value) for name, value in statistics.items()}
        assert found == pytest.approx(numbers, rel=1e-5, abs=1e-6)
        parameters.vector.add_(torch.randn(parameters.vector.shape), alpha=0.03)
        model.observation_mean.fill_(0.1 * i)
        model.observation_inverse_std.fill_(1 + 0.1 * i)


def test_batches_of_another_size_do_not_fit():
    model = ActorCritic(observation_shape=(4,), head=Categorical(3), hidden_size=8)
    algorithm = ProximalPolicyOptimization(**{**PPO, "num_mini_batch": 5})
    batches = [*algorithm.batches(make_segment(model, 9, 4))]
    bound = BoundGradient(traced(algorithm, model, batches[0]), model)
    assert [batch.advantages.numel() for batch in batches[:5]] == [7, 7, 7, 7, 8]
    assert [bound.fits(batch.tensors()) for batch in batches[:5]] == [True] * 4 + [False]


def test_any_modules_loss_can_be_traced():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    parameters = FlatParameters(module)

    def loss(module: nn.Module, tensors: tuple[Tensor, ...]):
        inputs, targets, _ = tensors
        errors = (module(inputs) - targets).square()
        return errors.mean(), {"largest": errors.detach().max()}

    def tensors() -> tuple[Tensor, ...]:
        return torch.randn(7, 3), torch.randn(7, 1), torch.randn(2)  # the last is not read

    bound = BoundGradient(trace(loss, module, tensors()), module)
    for _ in range(2):
        given = tensors()
        expected, statistics = loss(module, given)
        gradient, found = bound(given)
        torch.testing.assert_close(gradient, parameters.gradient(expected))
        assert found == pytest.approx({"largest": float(statistics["largest"])}, rel=1e-5)
