import pytest
import torch
from torch import Tensor, nn

from a3c.capture import Capture
from shared_optim.flat import FlatParameters
from shared_optim.kronecker import LinearMap
from tests.a3c.models import CORES, NUM_ACTIONS, make_model, make_observations


def assert_equals_autograd(capture: Capture, samples, parameters: FlatParameters, loss) -> None:
    """Inputs times gradients of outputs, in their places, are the gradient of every parameter."""
    expected = parameters.gradient(loss)
    found = torch.full_like(expected, torch.nan)
    for (weight, bias, _), (a, g) in zip(capture.maps, samples, strict=True):
        place = {"weight": parameters.start(weight), "bias": parameters.start(bias)}
        map_ = LinearMap(
            **place, rows=len(bias), inputs=a.shape[1] - 1, group=0, num_samples=len(a)
        )
        map_.write(found, g.t() @ a, slice(None))
        torch.testing.assert_close(map_.matrix(found), g.t() @ a)
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("recurrent", CORES)
@pytest.mark.parametrize("name", ["mlp", "small conv", "nature"])
def test_inputs_times_gradients_of_outputs_are_the_gradient_of_every_parameter(name, recurrent):
    model, (T, B) = make_model(name, recurrent), (4, 3)
    parameters = FlatParameters(model)
    starts, weights = torch.rand(T, B) < 0.3, torch.randn(T, B, NUM_ACTIONS)
    observations, state = make_observations(name, T, B), torch.randn_like(model.initial_state(B))

    def loss() -> Tensor:
        policy, values, _ = model.unroll(observations, state, starts)
        return (policy * weights).sum() + values.square().sum()

    with Capture() as capture:
        captured = loss()
    assert_equals_autograd(capture, capture.samples(captured), parameters, loss())


class Branches(nn.Module):
    """One layer applied twice, another by the functional interface, and a sum of both."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.once = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(x).tanh())
        return nn.functional.linear(x, self.once.weight, self.once.bias)


MODULES = {
    "layers": (
        lambda: nn.Sequential(
            nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 4), nn.ELU(), nn.Linear(4, 2)
        ),
        (6,),
    ),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 5, (2, 3), stride=(1, 2), padding=(0, 1)),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 4, 2),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.LayerNorm(8, elementwise_affine=False),
            nn.Linear(8, 2),
        ),
        (3, 6, 12),
    ),
    "branches": (Branches, (6,)),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_capture_equals_autograd_on_any_module(name):
    torch.manual_seed(0)
    make, shape = MODULES[name]
    module, x = make(), torch.randn(7, *shape)
    parameters, weights = FlatParameters(module), torch.randn(7, 2)
    with Capture() as capture:
        loss = (module(x) * weights).sum()
    assert {len(bias) for _, bias, _ in capture.maps} == {
        len(layer.bias)
        for layer in module.modules()
        if hasattr(layer, "weight") and layer.weight is not None
    }
    assert_equals_autograd(capture, capture.samples(loss), parameters, (module(x) * weights).sum())


def test_outside_of_the_block_nothing_is_kept_and_parameters_take_gradients_again():
    torch.manual_seed(0)
    layer, x = nn.Linear(3, 2), torch.randn(5, 3)
    with Capture() as capture:
        inside = layer(x)
    outside = layer(x)
    ((a, g),) = capture.samples(inside.sum())
    assert a.shape == (5, 4) and g.shape == (5, 2)
    assert torch.equal(a[:, :-1], x) and a[:, -1].eq(1).all()
    (gradient,) = torch.autograd.grad(outside.sum(), [layer.weight])
    torch.testing.assert_close(gradient, g.t() @ a[:, :-1])
    with pytest.raises(RuntimeError):  # gradients reach outputs inside the block, not parameters
        torch.autograd.grad(inside.sum(), [layer.weight])


def test_locations_of_a_convolution_that_are_drawn_are_some_of_all():
    model, (T, B) = make_model("small conv"), (2, 3)
    observations = make_observations("small conv", T, B)
    state, starts = model.initial_state(B), torch.zeros(T, B, dtype=torch.bool)
    found = []
    for locations in (None, 8):
        with Capture() as capture:
            policy = model.unroll(observations, state, starts).policy
        found.append(capture.samples(policy.square().sum(), locations=locations))
    for i, (every, some) in enumerate(zip(*found, strict=True)):
        every, some = (torch.cat(sample, 1).unflatten(0, (T * B, -1)) for sample in (every, some))
        locations = (21**2, 11**2, 6**2, 3**2)[i] if i < 4 else 1
        assert every.shape[1] == locations and some.shape[1] == min(8, locations)
        for case, drawn in zip(every, some, strict=True):
            assert all(
                any(torch.allclose(row, other, atol=1e-5) for other in case) for row in drawn
            )
