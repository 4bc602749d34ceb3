import pytest
import torch

from a3c.heads import Categorical
from a3c.model import ActorCritic
from shared_optim.flat import FlatParameters
from tests.a3c.segments import play, segment_of, unrolled

SHAPES = {
    "small conv": ((1, 42, 42), torch.uint8),
    "small conv of a stack": ((4, 42, 42), torch.uint8),
    "nature": ((4, 84, 84), torch.uint8),
    "impala": ((2, 20, 20), torch.uint8),
    "mlp": ((5,), torch.float32),
}


def make_model(name: str, recurrent: str, **options) -> ActorCritic:
    torch.manual_seed(0)
    options |= {
        "recurrent": recurrent,
        "hidden_size": 16,
        "network": name if name == "impala" else "auto",
    }
    return ActorCritic(observation_shape=SHAPES[name][0], head=Categorical(6), **options)


def make_observations(name: str, T: int, B: int) -> torch.Tensor:
    shape, dtype = SHAPES[name]
    return (
        torch.randint(0, 255, (T, B, *shape)).to(dtype)
        if dtype == torch.uint8
        else torch.randn(T, B, *shape)
    )


def test_the_conv_lstm_has_the_parameters_of_pytorch_a3c():
    model = ActorCritic(
        observation_shape=(1, 42, 42), head=Categorical(6), recurrent="lstm", hidden_size=256
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == 588_967


def test_the_residual_network_is_impalas():
    model = ActorCritic(
        observation_shape=(4, 84, 84), head=Categorical(15), network="impala", hidden_size=256
    )
    assert len(model.body.convolutions) == 15
    per_block = [(4, 16), (16, 32), (32, 32)]
    convolutions = sum(9 * a * b + b + 4 * (9 * b * b + b) for a, b in per_block)
    heads = 256 * (15 + 1) + 15 + 1
    expected = convolutions + (11 * 11 * 32 * 256 + 256) + heads
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_initialisation_of_the_conv_lstm():
    model = ActorCritic(
        observation_shape=(1, 42, 42), head=Categorical(6), recurrent="lstm", hidden_size=256
    )
    torch.testing.assert_close(model.actor.weight.norm(dim=1), torch.full((6,), 0.01))
    torch.testing.assert_close(model.critic.weight.norm(dim=1), torch.ones(1))
    assert all(not bias.any() for name, bias in model.named_parameters() if "bias" in name)
    kernels = model.body.convolutions[1].weight.flatten(1)
    torch.testing.assert_close(kernels @ kernels.T, 2 * torch.eye(32), atol=1e-5, rtol=1e-5)


def test_initialisation_with_pytorch_a3cs_activation_is_its_own():
    model = ActorCritic(
        observation_shape=(1, 42, 42), head=Categorical(6), recurrent="lstm", activation="elu"
    )
    bound = (6 / (32 * 9 + 32 * 9)) ** 0.5  # Glorot's for a 3x3 convolution from 32 to 32 channels
    assert 0.99 * bound < model.body.convolutions[1].weight.abs().max() <= bound


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("recurrent", ["none", "lstm", "gru"])
@pytest.mark.parametrize("B", [1, 3])
def test_unroll_equals_stepwise_acting_through_episode_ends(name, recurrent, B):
    model, T = make_model(name, recurrent), 7
    FlatParameters(model)
    observations = make_observations(name, T, B)
    model.observation_inverse_std.fill_(1 / 64)
    starts = torch.rand(T, B) < 0.3
    first = torch.randn(B, model.initial_state(B).shape[1])
    acted = play(model, observations, first, starts)
    policy, value = unrolled(model, observations, first, starts)
    torch.testing.assert_close(policy, acted[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(value, acted[1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("recurrent", ["none", "lstm", "gru"])
@pytest.mark.parametrize("activation", ["relu", "elu", "tanh"])
@pytest.mark.parametrize("B", [1, 3])
def test_gradient_of_what_was_recorded_is_that_of_computing_it_again(
    name, recurrent, activation, B
):
    model, T = make_model(name, recurrent, activation=activation), 5
    FlatParameters(model)  # as in a worker: convolution weights lie channels_last
    model.observation_inverse_std.fill_(1 / 64)
    observations, starts = make_observations(name, T, B), torch.rand(T, B) < 0.3
    first, weights = torch.randn(B, model.initial_state(B).shape[1]), torch.randn(T, B, 6)
    *_, recording = play(model, observations, first, starts)
    segment = segment_of(observations, first, starts, recording=recording)

    def gradients() -> list[torch.Tensor]:
        policy, values = model.unroll(segment)
        return [
            *torch.autograd.grad(
                (policy * weights).sum() + values.square().sum(), [*model.parameters()]
            )
        ]

    replayed, recomputed = gradients(), gradients()
    for mine, reference in zip(replayed, recomputed, strict=True):
        torch.testing.assert_close(
            mine, reference, atol=1e-4 * float(reference.abs().max()), rtol=1e-3
        )


@pytest.mark.parametrize("name", ["small conv", "nature", "impala"])
def test_convolutions_in_bfloat16_give_nearly_the_same_and_their_parameters_stay_float32(name):
    single, half = make_model(name, "none"), make_model(name, "none", precision=torch.bfloat16)
    assert all(parameter.dtype == torch.float32 for parameter in half.parameters())
    T, B = 4, 3
    observations, starts = make_observations(name, T, B), torch.zeros(T, B, dtype=torch.bool)
    state, weights = single.initial_state(B), torch.randn(T, B, 6)

    def learned(model: ActorCritic) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        _, acted, recording = play(model, observations, state, starts)
        segment, gradients = segment_of(observations, state, starts, recording=recording), []
        for _ in ("replayed", "computed"):
            policy, values = model.unroll(segment)
            gradients.append(
                FlatParameters(model).gradient((policy * weights).sum() + values.sum()).clone()
            )
        return acted, *gradients

    bound = (
        0.15 if name == "impala" else 0.04
    )  # eight bits of each factor, through fifteen layers or three and four
    for mine, reference in zip(learned(half), learned(single), strict=True):
        assert 1e-5 < float((mine - reference).norm() / reference.norm()) < bound


def test_a_recording_is_replayed_once_and_only_when_complete():
    model, T, B = make_model("mlp", "lstm"), 4, 2
    observations, starts, first = (
        make_observations("mlp", T, B),
        torch.zeros(T, B, dtype=torch.bool),
        model.initial_state(B),
    )
    before, _, recording = play(model, observations, first, starts)
    segment = segment_of(observations, first, starts, recording=recording)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    torch.testing.assert_close(model.unroll(segment)[0], before)
    after = unrolled(model, observations, first, starts)[0]
    torch.testing.assert_close(model.unroll(segment)[0], after)
    with torch.inference_mode():
        recording.step(0, lambda layers: model.step(observations[0], first, layers))
    torch.testing.assert_close(model.unroll(segment)[0], after)
    assert (before - after).abs().max() > 0.01


def test_gradient_of_the_unrolled_lstm_is_that_of_autograd():
    model, T, B = make_model("mlp", "lstm"), 6, 2
    observations, starts = make_observations("mlp", T, B), torch.rand(T, B) < 0.3
    first, weights = torch.randn(B, 32), torch.randn(T, B, 6)
    policy, values = unrolled(model, observations, first, starts)
    fast = torch.autograd.grad(
        (policy * weights).sum() + values.square().sum(), [*model.parameters()]
    )
    state, loss = first, torch.zeros(())
    for t in range(T):
        state = state * ~starts[t].unsqueeze(-1)
        policy, values, state = model.step(observations[t], state)
        loss = loss + (policy * weights[t]).sum() + values.square().sum()
    slow = torch.autograd.grad(loss, [*model.parameters()])
    for mine, reference in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, reference, atol=1e-5, rtol=1e-4)


def test_observations_are_scaled_and_clipped_by_the_first_layer():
    model = make_model("mlp", "none", observation_clip=2.0)
    model.observation_mean.fill_(3.0)
    model.observation_inverse_std.fill_(0.5)
    plain = make_model("mlp", "none")
    x = torch.tensor([[3.0, 5.0, 1.0, 100.0, -100.0]])
    expected = plain.step(torch.tensor([[0.0, 1.0, -1.0, 2.0, -2.0]]), plain.initial_state(1))[0]
    torch.testing.assert_close(model.step(x, model.initial_state(1))[0], expected)


@pytest.mark.parametrize("num_shared_layers", [0, 1, 2])
def test_actor_and_critic_share_as_many_layers_as_they_are_told(num_shared_layers):
    model = make_model("mlp", "none", num_layers=2, num_shared_layers=num_shared_layers)
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
