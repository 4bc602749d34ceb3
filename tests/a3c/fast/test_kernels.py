import pytest
import torch
from torch import nn

from a3c.fast.kernels import (
    ACTIVATIONS,
    convolution_into,
    empty,
    linear_into,
    output_shape,
    scale_into,
)
from a3c.networks.layers import ACTIVATIONS as PLAIN
from tests.a3c.models import make_model

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
    x, relu, scratch = empty((B, channels, size, size)), ACTIVATIONS[nn.ReLU], []
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
    model = make_model("mlp", observation_clip=2.0)
    observations, out = torch.zeros(2, 5), torch.empty(2, 5)
    scale = scale_into(model, out)
    observations.copy_(torch.tensor([[1.0, 5.0, -9.0, 3.0, 3.0], [0.0, 1.0, 2.0, 3.0, 3.0]]))
    model.observation_mean.fill_(1.0)
    model.observation_inverse_std.fill_(0.5)
    scale(observations)
    assert out.tolist() == [[0.0, 2.0, -2.0, 1.0, 1.0], [-0.5, 0.0, 0.5, 1.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_images_are_scaled_as_the_plain_network_scales_them(dtype):
    model = make_model("small conv")
    model.observation_mean.fill_(100.3)
    images = torch.randint(0, 255, (2, 1, 42, 42)).to(torch.uint8)
    out = empty(tuple(images.shape), dtype)
    scale_into(model, out)(images)
    assert torch.equal(out, model.scaled(images, dtype))


@pytest.mark.parametrize("name", PLAIN)
def test_an_activations_derivative_from_its_output_is_autograds(name):
    activation = ACTIVATIONS[PLAIN[name]]
    x, out = torch.randn(50, requires_grad=True), torch.empty(50)
    y = PLAIN[name]()(x)
    (expected,) = torch.autograd.grad(y, x, torch.ones(50))
    assert activation.into(x.detach(), out) is out
    torch.testing.assert_close(out, y.detach())
    torch.testing.assert_close(activation.gradient(torch.ones(50), out), expected)
