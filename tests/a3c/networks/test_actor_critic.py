import pytest
import torch

from a3c.networks.actor_critic import ActorCritic
from a3c.networks.heads import Categorical
from shared_optim.flat import FlatParameters
from tests.a3c.models import (
    CORES,
    NUM_ACTIONS,
    SHAPES,
    act,
    assert_close_lists,
    gradients,
    make_model,
    make_observations,
)


def conv_lstm(**options) -> ActorCritic:
    return ActorCritic(
        observation_shape=(1, 42, 42), head=Categorical(6), recurrent="lstm", **options
    )


def test_the_conv_lstm_has_the_parameters_of_pytorch_a3c():
    model = conv_lstm(hidden_size=256)
    assert sum(parameter.numel() for parameter in model.parameters()) == 588_967


def test_the_residual_network_is_impalas():
    model = ActorCritic(
        observation_shape=(4, 84, 84), head=Categorical(15), network="impala", hidden_size=256
    )
    assert len(model.body.layers.convolutions) == 15
    per_block = [(4, 16), (16, 32), (32, 32)]
    convolutions = sum(9 * a * b + b + 4 * (9 * b * b + b) for a, b in per_block)
    heads = 256 * (15 + 1) + 15 + 1
    expected = convolutions + (11 * 11 * 32 * 256 + 256) + heads
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_initialisation_of_the_conv_lstm():
    model = conv_lstm(hidden_size=256)
    torch.testing.assert_close(model.actor.weight.norm(dim=1), torch.full((6,), 0.01))
    torch.testing.assert_close(model.critic.weight.norm(dim=1), torch.ones(1))
    assert all(not bias.any() for name, bias in model.named_parameters() if "bias" in name)
    second, _ = model.body.layers[1]
    kernels = second.weight.flatten(1)
    torch.testing.assert_close(kernels @ kernels.T, 2 * torch.eye(32), atol=1e-5, rtol=1e-5)


def test_initialisation_with_pytorch_a3cs_activation_is_its_own():
    second, _ = conv_lstm(activation="elu").body.layers[1]
    bound = (6 / (32 * 9 + 32 * 9)) ** 0.5  # Glorot's for a 3x3 convolution from 32 to 32 channels
    assert 0.99 * bound < second.weight.abs().max() <= bound


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("recurrent", CORES)
@pytest.mark.parametrize("B", [1, 3])
def test_unroll_equals_stepwise_acting_through_episode_ends(name, recurrent, B):
    model, T = make_model(name, recurrent), 7
    observations, starts = make_observations(name, T, B), torch.rand(T, B) < 0.3
    state = torch.randn_like(model.initial_state(B))
    policies, acted_values, _ = act(model, observations, state, starts)
    policy, values, auxiliary = model.unroll(observations, state, starts)
    torch.testing.assert_close(policy, policies, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(values, acted_values, atol=1e-5, rtol=1e-4)
    assert policy.shape == (T, B, NUM_ACTIONS) and not auxiliary


@pytest.mark.parametrize("name", SHAPES)
def test_convolution_weights_may_lie_in_either_order(name):
    """`FlatParameters` moves them into memory that is channels_last."""
    model, T, B = make_model(name), 3, 2
    observations, starts = make_observations(name, T, B), torch.zeros(T, B, dtype=torch.bool)

    def learned() -> list[torch.Tensor]:
        policy, values, _ = model.unroll(observations, model.initial_state(B), starts)
        return [policy, values, *gradients(model, policy.square().sum() + values.sum())]

    before = learned()
    FlatParameters(model)
    assert_close_lists(learned(), before)


@pytest.mark.parametrize("name", ["small conv", "nature", "impala"])
def test_convolutions_in_bfloat16_give_nearly_the_same_and_their_parameters_stay_float32(name):
    single, half = make_model(name), make_model(name, precision=torch.bfloat16)
    assert all(parameter.dtype == torch.float32 for parameter in half.parameters())
    T, B = 4, 3
    observations, starts = make_observations(name, T, B), torch.zeros(T, B, dtype=torch.bool)
    state, weights = single.initial_state(B), torch.randn(T, B, NUM_ACTIONS)
    torch.testing.assert_close(
        half.step(observations[0], state), single.step(observations[0], state)
    )

    def learned(model: ActorCritic) -> tuple[torch.Tensor, torch.Tensor]:
        policy, values, _ = model.unroll(observations, state, starts)
        assert policy.dtype == values.dtype == torch.float32
        loss = (policy * weights).sum() + values.sum()
        return values.detach(), FlatParameters(model).gradient(loss)

    # Eight bits of each factor, through fifteen layers or three and four.
    bound = 0.15 if name == "impala" else 0.04
    for mine, reference in zip(learned(half), learned(single), strict=True):
        assert 1e-5 < float((mine - reference).norm() / reference.norm()) < bound


def test_observations_are_scaled_and_clipped_by_the_first_layer():
    model = make_model("mlp", observation_clip=2.0)
    model.observation_mean.fill_(3.0)
    model.observation_inverse_std.fill_(0.5)
    plain = make_model("mlp")
    x = torch.tensor([[3.0, 5.0, 1.0, 100.0, -100.0]])
    state = plain.initial_state(1)
    expected = plain.step(torch.tensor([[0.0, 1.0, -1.0, 2.0, -2.0]]), state).policy
    torch.testing.assert_close(model.step(x, state).policy, expected)
    never = torch.zeros(1, 1, dtype=torch.bool)
    torch.testing.assert_close(model.unroll(x[None], state, never).policy, expected[None])


@pytest.mark.parametrize("num_shared_layers", [0, 1, 2])
def test_actor_and_critic_share_as_many_layers_as_they_are_told(num_shared_layers):
    model = make_model("mlp", num_layers=2, num_shared_layers=num_shared_layers)
    policy, values, _ = model.step(torch.randn(3, 5), model.initial_state(3))
    moved_by_policy = torch.autograd.grad(
        policy.square().sum(), [*model.parameters()], allow_unused=True, retain_graph=True
    )
    moved_by_values = torch.autograd.grad(
        values.square().sum(), [*model.parameters()], allow_unused=True
    )
    shared = sum(
        a is not None and b is not None
        for a, b in zip(moved_by_policy, moved_by_values, strict=True)
    )
    assert shared == 2 * num_shared_layers  # a weight and a bias each


def test_an_observation_that_no_body_takes_is_refused():
    with pytest.raises(ValueError, match=r"no network takes observations of shape \(7, 7\)"):
        ActorCritic(observation_shape=(7, 7), head=Categorical(2))
