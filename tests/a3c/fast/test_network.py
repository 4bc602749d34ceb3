"""The fast network against the plain one: alike in use, and safe in misuse."""

import pytest
import torch

from a3c.fast.network import FastActorCritic
from a3c.networks.actor_critic import ActorCritic, AuxiliaryOutput, Network
from shared_optim.flat import FlatParameters
from tests.a3c.models import (
    CORES,
    NUM_ACTIONS,
    SHAPES,
    act,
    assert_close_lists,
    gradients,
    make_fast,
    make_model,
    make_observations,
)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("recurrent", CORES)
@pytest.mark.parametrize("activation", ["relu", "elu", "tanh"])
@pytest.mark.parametrize("B", [1, 3])
def test_acting_unroll_and_gradients_are_the_plain_networks(name, recurrent, activation, B):
    output = AuxiliaryOutput(name="extra", side="shared", depth=-1, size=2)
    model = make_model(name, recurrent, activation=activation, auxiliary_outputs=[output])
    FlatParameters(model)  # as in a worker: convolution weights lie channels_last
    T = 5
    observations, starts = make_observations(name, T, B), torch.rand(T, B) < 0.3
    state = torch.randn_like(model.initial_state(B))
    weights = torch.randn(T, B, NUM_ACTIONS)
    fast = make_fast(model, observations)

    def learned(network: Network) -> list[torch.Tensor]:
        policy, values, auxiliary = network.unroll(observations, state, starts)
        loss = (policy * weights).sum() + values.square().sum() + auxiliary["extra"].sin().sum()
        outputs = [policy.detach(), values.detach(), auxiliary["extra"].detach()]
        return [*outputs, *gradients(model, loss)]

    acted = act(fast, observations, state, starts)
    torch.testing.assert_close(acted, act(model, observations, state, starts), atol=1e-5, rtol=1e-4)
    expected = learned(model)
    for _ in ("replayed", "computed"):
        assert_close_lists(learned(fast), expected)


@pytest.mark.parametrize("name", ["small conv", "nature", "impala"])
def test_in_bfloat16_acting_replaying_and_computing_give_nearly_the_same(name):
    single, half = make_model(name), make_model(name, precision=torch.bfloat16)
    T, B = 4, 3
    observations, starts = make_observations(name, T, B), torch.zeros(T, B, dtype=torch.bool)
    state, weights = single.initial_state(B), torch.randn(T, B, NUM_ACTIONS)

    def learned(model: ActorCritic) -> list[torch.Tensor]:
        parameters, fast = FlatParameters(model), make_fast(model, observations)
        _, acted, _ = act(fast, observations, state, starts)
        found = [acted]
        for _ in ("replayed", "computed"):
            policy, values, _ = fast.unroll(observations, state, starts)
            loss = (policy * weights).sum() + values.sum()
            found.append(parameters.gradient(loss).clone())
        return found

    # Eight bits of each factor, through fifteen layers or three and four.
    bound = 0.15 if name == "impala" else 0.04
    for mine, reference in zip(learned(half), learned(single), strict=True):
        assert 1e-5 < float((mine - reference).norm() / reference.norm()) < bound


class Setting:
    """A fast network of T = B, and what is needed to tell a record from the plain numbers."""

    T = B = 3

    def __init__(self, name: str, recurrent: str) -> None:
        self.model, self.recurrent = make_model(name, recurrent), recurrent
        FlatParameters(self.model)
        self.observations = make_observations(name, self.T, self.B)
        self.next_observations = make_observations(name, 1, self.B)[0]
        self.starts = torch.rand(self.T, self.B) < 0.3
        self.state = torch.randn_like(self.model.initial_state(self.B))
        self.fast = self.fast_network(self.model)

    def fast_network(self, model: ActorCritic) -> FastActorCritic:
        return FastActorCritic(
            model, observations=self.observations, next_observations=self.next_observations
        )

    def act(self, network: Network) -> torch.Tensor:
        policies, _, _ = act(network, self.observations, self.state, self.starts)
        return policies

    def step(self, *numbers: int) -> None:
        """Step rows of the observations, in this order, whatever the state."""
        with torch.inference_mode():
            for t in numbers:
                self.fast.step(self.observations[t], self.state)

    def unroll(self, network: Network) -> torch.Tensor:
        return network.unroll(self.observations, self.state, self.starts).policy.detach()

    def change_parameters(self) -> None:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))

    def assert_anew(self) -> None:
        """Unroll gives the plain network's numbers of now, not those of a record."""
        before = self.unroll(self.model)
        self.change_parameters()
        after = self.unroll(self.model)
        assert (before - after).abs().max() > 0.01
        torch.testing.assert_close(self.unroll(self.fast), after, atol=1e-5, rtol=1e-4)


@pytest.fixture(params=[("mlp", "none"), ("mlp", "lstm"), ("mlp", "gru"), ("small conv", "lstm")])
def setting(request) -> Setting:
    return Setting(*request.param)


def test_a_record_is_replayed_once(setting):
    before = setting.act(setting.fast)
    setting.change_parameters()
    replayed = setting.unroll(setting.fast)
    if setting.recurrent != "gru":  # whose steps are computed anew, over features that are replayed
        torch.testing.assert_close(replayed, before)
    assert (replayed - setting.unroll(setting.model)).abs().max() > 0.01
    setting.assert_anew()


@pytest.mark.parametrize(
    "order",
    [(), (0,), (0, 1), (1, 2), (0, 2, 1), (0, 2), (2, 1, 0), (0, 1, 1, 2), (0, 1, 2, 0), (1, 0, 2)],
)
def test_a_segment_that_is_incomplete_or_out_of_order_is_computed_anew(setting, order):
    setting.step(*order)
    setting.assert_anew()


def test_a_segment_that_was_begun_again_in_order_is_a_record(setting):
    setting.step(0, 1)
    acted = setting.act(setting.fast)
    torch.testing.assert_close(setting.unroll(setting.fast), acted)


def test_an_incomplete_record_stays_useless_when_the_rest_follows_an_unroll(setting):
    setting.step(0, 1)
    setting.unroll(setting.fast)
    setting.step(2)
    setting.assert_anew()


def test_observations_after_the_segment_have_the_plain_networks_numbers(setting):
    for _ in range(2):
        with torch.inference_mode():
            found, expected = (
                network.step(setting.next_observations, setting.state)
                for network in (setting.fast, setting.model)
            )
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
        setting.change_parameters()
        setting.next_observations.copy_(setting.observations[1])


def test_observations_after_the_segment_are_no_part_of_the_record(setting):
    setting.starts[:] = False
    acted = setting.act(setting.model)
    with torch.inference_mode():
        state = setting.state
        for row in setting.observations:
            after = setting.fast.step(row, state).state.clone()
            setting.fast.step(setting.next_observations, after)  # as where an episode is cut off
            state = after
    torch.testing.assert_close(setting.unroll(setting.fast), acted, atol=1e-5, rtol=1e-4)


def test_observations_elsewhere_in_memory_are_computed_whatever_was_recorded(setting):
    elsewhere = setting.observations.clone(memory_format=torch.preserve_format)
    acted = setting.act(setting.fast)
    with torch.inference_mode():
        for row in elsewhere:
            other = row + 1
            torch.testing.assert_close(
                setting.fast.step(other, setting.state),
                setting.model.step(other, setting.state),
                atol=1e-5,
                rtol=1e-4,
            )
    torch.testing.assert_close(setting.unroll(setting.fast), acted)  # it was no part of the record
    setting.act(setting.fast)
    setting.change_parameters()
    found = setting.fast.unroll(elsewhere, setting.state, setting.starts).policy
    torch.testing.assert_close(found, setting.unroll(setting.model), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("steps", "environments"), [(3, 1), (3, 2), (2, 3), (1, 3), (1, 1)], ids=str
)
def test_another_number_of_steps_or_environments_at_the_same_address_is_computed(
    setting, steps, environments
):
    setting.act(setting.fast)
    setting.change_parameters()
    part = (slice(steps), slice(environments))
    observations, starts = setting.observations[part], setting.starts[part]
    state = setting.state[:environments]
    assert observations.data_ptr() == setting.observations.data_ptr()
    found, expected = (
        network.unroll(observations, state, starts).policy
        for network in (setting.fast, setting.model)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(
            setting.fast.step(observations[0], state),
            setting.model.step(observations[0], state),
            atol=1e-5,
            rtol=1e-4,
        )


def test_a_view_of_the_same_shape_at_the_same_address_is_computed(setting):
    """Steps and environments exchanged, where there are as many of both."""
    turned = setting.observations.transpose(0, 1)
    assert turned.shape == setting.observations.shape
    assert turned.data_ptr() == setting.observations.data_ptr()
    setting.act(setting.fast)
    found = setting.fast.unroll(turned, setting.state, setting.starts).policy
    expected = setting.model.unroll(turned, setting.state, setting.starts).policy
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)

    with torch.inference_mode():
        setting.fast.step(turned[0], setting.state)
    setting.step(1, 2)
    setting.assert_anew()


def test_networks_that_watch_the_same_memory_keep_records_of_their_own(setting):
    torch.manual_seed(7)
    other = ActorCritic(
        observation_shape=setting.model.observation_shape,
        head=setting.model.head,
        recurrent="gru",
        hidden_size=8,
    )
    FlatParameters(other)
    other_fast, state = setting.fast_network(other), other.initial_state(setting.B)

    def unroll(network: Network) -> torch.Tensor:
        return network.unroll(setting.observations, state, setting.starts).policy.detach()

    acted = setting.act(setting.fast)
    torch.testing.assert_close(unroll(other_fast), unroll(other), atol=1e-5, rtol=1e-4)
    act(other_fast, setting.observations, state, setting.starts)
    torch.testing.assert_close(setting.unroll(setting.fast), acted)
    torch.testing.assert_close(unroll(other_fast), unroll(other), atol=1e-5, rtol=1e-4)
    setting.assert_anew()
