import pytest
import torch

from a3c.observation import Observation
from shared_optim.flat import FlatParameters
from shared_optim.kfac import LinearMap
from tests.a3c.segments import play, segment_of
from tests.a3c.test_model import make_model, make_observations


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("recurrent", ["none", "lstm", "gru"])
@pytest.mark.parametrize("name", ["mlp", "small conv", "nature"])
def test_inputs_times_gradients_of_outputs_are_the_gradient_of_every_parameter(name, recurrent, recorded):
    model, (T, B) = make_model(name, recurrent), (4, 3)
    parameters = FlatParameters(model)
    model.observation_inverse_std.fill_(1 / 64)
    observations, starts = make_observations(name, T, B), torch.rand(T, B) < 0.3
    first, weights = torch.randn(B, model.initial_state(B).shape[1]), torch.randn(T, B, 6)
    recording = play(model, observations, first, starts)[2] if recorded else None
    observation = Observation()
    policy, values = model.unroll(segment_of(observations, first, starts, recording=recording), observation)
    samples = observation.samples((policy * weights).sum() + values.square().sum(), torch.arange(T * B))

    policy, values = model.unroll(segment_of(observations, first, starts))
    expected = parameters.gradient((policy * weights).sum() + values.square().sum())
    found = torch.full_like(expected, torch.nan)
    for (weight, bias), (a, g) in zip(observation.maps, samples, strict=True):
        place = {"weight": parameters.start(weight), "bias": parameters.start(bias)}
        map_ = LinearMap(**place, rows=len(bias), inputs=a.shape[1] - 1, group=0, num_cases=T * B, num_samples=len(a))
        map_.write(found, g.t() @ a, slice(None))
        torch.testing.assert_close(map_.matrix(found), g.t() @ a)
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


def test_some_cases_are_those_rows():
    model, (T, B) = make_model("nature", "none"), (2, 3)
    segment = segment_of(make_observations("nature", T, B), model.initial_state(B), torch.zeros(T, B, dtype=torch.bool))
    observation = Observation()
    policy, _ = model.unroll(segment, observation)
    every, some = (observation.samples(policy.square().sum(), cases) for cases in (torch.arange(6), torch.tensor([4, 1])))
    for (a, g), (some_a, some_g) in zip(every, some, strict=True):
        for whole, part in ((a, some_a), (g, some_g)):
            whole, part = whole.unflatten(0, (6, -1)), part.unflatten(0, (2, -1))
            torch.testing.assert_close(part, whole[[4, 1]])
