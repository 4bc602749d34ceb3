import pytest
import torch

from a3c.capture import Capture
from shared_optim.flat import FlatParameters
from shared_optim.kronecker import LinearMap
from tests.a3c.segments import segment_of
from tests.a3c.test_model import make_model, make_observations


@pytest.mark.parametrize("recurrent", ["none", "lstm", "gru"])
@pytest.mark.parametrize("name", ["mlp", "small conv", "nature"])
def test_inputs_times_gradients_of_outputs_are_the_gradient_of_every_parameter(name, recurrent):
    model, (T, B) = make_model(name, recurrent), (4, 3)
    parameters = FlatParameters(model)
    model.observation_inverse_std.fill_(1 / 64)
    starts, weights = torch.rand(T, B) < 0.3, torch.randn(T, B, 6)
    segment = segment_of(
        make_observations(name, T, B), torch.randn(B, model.initial_state(B).shape[1]), starts
    )
    capture = Capture()
    policy, values = model.unroll(segment, capture)
    samples = capture.samples((policy * weights).sum() + values.square().sum())

    policy, values = model.unroll(segment)
    expected = parameters.gradient((policy * weights).sum() + values.square().sum())
    found = torch.full_like(expected, torch.nan)
    for (weight, bias, _), (a, g) in zip(capture.maps, samples, strict=True):
        place = {"weight": parameters.start(weight), "bias": parameters.start(bias)}
        map_ = LinearMap(
            **place, rows=len(bias), inputs=a.shape[1] - 1, group=0, num_samples=len(a)
        )
        map_.write(found, g.t() @ a, slice(None))
        torch.testing.assert_close(map_.matrix(found), g.t() @ a)
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


def test_locations_of_a_convolution_that_are_drawn_are_some_of_all():
    model, (T, B) = make_model("small conv", "none"), (2, 3)
    segment = segment_of(
        make_observations("small conv", T, B),
        model.initial_state(B),
        torch.zeros(T, B, dtype=torch.bool),
    )
    found = []
    for locations in (None, 8):
        capture = Capture()
        policy, _ = model.unroll(segment, capture)
        found.append(capture.samples(policy.square().sum(), locations=locations))
    for i, (every, some) in enumerate(zip(*found, strict=True)):
        every, some = (torch.cat(sample, 1).unflatten(0, (T * B, -1)) for sample in (every, some))
        locations = (21**2, 11**2, 6**2, 3**2)[i] if i < 4 else 1
        assert every.shape[1] == locations and some.shape[1] == min(8, locations)
        for case, drawn in zip(every, some, strict=True):
            assert all(
                any(torch.allclose(row, other, atol=1e-5) for other in case) for row in drawn
            )
