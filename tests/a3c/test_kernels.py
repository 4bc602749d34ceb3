import pytest
import torch
from torch import nn

from a3c.kernels import (
    ACTIVATIONS,
    Scaling,
    convolution_into,
    empty,
    linear_into,
    output_shape,
    scale_into,
)

CONVOLUTIONS = [
    (1, 3, 2, 1, 42),
    (32, 3, 2, 1, 21),
    (4, 8, 4, 0, 84),
    (3, 5, 1, 2, 9),
]  # channels, kernel, stride, padding, size


@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize(("channels", "kernel", "stride", "padding", "size"), CONVOLUTIONS)
def test_a_convolutions_call_follows_its_input_and_its_parameters(
    B, channels, kernel, stride, padding, size
):
    layer = nn.Conv2d(channels, 7, kernel, stride=stride, padding=padding).to(
        memory_format=torch.channels_last
    )
    x, relu, scratch = empty((B, channels, size, size)), ACTIVATIONS["relu"], []
    out = empty(output_shape(layer, x))
    calls = [convolution_into(x, layer, relu, out, scratch) for _ in range(2)]
    with torch.no_grad():
        for call in calls:
            x.normal_()
            layer.weight.add_(0.1)
            call()
            torch.testing.assert_close(out, torch.relu(layer(x)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("B", [1, 3])
def test_a_linear_call_follows_its_input_and_its_parameters(B):
    layer, x, out = nn.Linear(5, 4), torch.empty(B, 5), torch.empty(B, 4)
    call = linear_into(x, layer.weight, layer.bias, out)
    with torch.no_grad():
        for _ in range(2):
            x.normal_()
            layer.bias.add_(1.0)
            call()
            torch.testing.assert_close(out, layer(x))


def test_a_scaling_call_follows_observations_and_statistics():
    observations, out = torch.zeros(2, 3), torch.empty(2, 3)
    scaling = Scaling(mean=torch.zeros(3), inverse_std=torch.ones(3), clip=2.0)
    call = scale_into(observations, scaling, out)
    observations.copy_(torch.tensor([[1.0, 5.0, -9.0], [0.0, 1.0, 2.0]]))
    scaling.mean.fill_(1.0)
    scaling.inverse_std.fill_(0.5)
    call()
    assert out.tolist() == [[0.0, 2.0, -2.0], [-0.5, 0.0, 0.5]]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activations_derivative_from_its_output_is_autograds(name):
    activation, x, out = ACTIVATIONS[name], torch.randn(50, requires_grad=True), torch.empty(50)
    y = activation.function(x)
    (expected,) = torch.autograd.grad(y, x, torch.ones(50))
    assert activation.into(x.detach(), out) is out
    torch.testing.assert_close(out, y.detach())
    torch.testing.assert_close(activation.gradient(torch.ones(50), out), expected)
