import pytest
import torch
from torch import nn

from shared_optim.flat import FlatParameters, clip_norm_


def make_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 4 * 4, 5))


def test_parameters_keep_their_values_and_become_views_of_the_vector():
    net, reference = make_net(), make_net()
    flat = FlatParameters(net)
    x = torch.randn(2, 2, 6, 6)
    torch.testing.assert_close(net(x), reference(x))
    flat.vector.zero_()
    assert not any(parameter.any() for parameter in net.parameters())
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert flat.vector.numel() == sum(parameter.numel() for parameter in net.parameters())


def test_gradient_equals_autograd_in_the_vectors_order():
    net = make_net()
    flat = FlatParameters(net)
    x = torch.randn(2, 2, 6, 6)
    gradient = flat.gradient(net(x).square().sum())
    step = 1e-3
    expected = net(x).square().sum() - step * gradient.square().sum()
    with torch.no_grad():
        flat.vector.sub_(step * gradient)
        # If every number is in its place, a small step against the gradient lowers the loss by the
        # gradient's squared length.
        assert net(x).square().sum().item() == pytest.approx(expected.item(), rel=0.05)
    net.zero_grad()
    net(x).square().sum().backward()
    again = flat.gradient(net(x).square().sum())
    others = torch.cat(
        [
            net[0].weight.grad.permute(0, 2, 3, 1).reshape(-1),
            *(p.grad.reshape(-1) for p in [*net.parameters()][1:]),
        ]
    )
    torch.testing.assert_close(again, others)


def test_each_gradient_depends_on_its_own_loss_alone():
    net = make_net()
    flat = FlatParameters(net)
    x = torch.randn(1, 2, 6, 6)
    first = flat.gradient(net(x).sum()).clone()
    flat.gradient(1000 * net(x).sum())
    torch.testing.assert_close(flat.gradient(net(x).sum()), first)


def test_a_parameter_without_influence_has_gradient_zero():
    net = make_net()
    gradient = FlatParameters(net).gradient(net[0].weight.sum())
    assert gradient[: net[0].weight.numel()].eq(1).all()
    assert gradient[net[0].weight.numel() :].eq(0).all()


def test_clip_norm():
    gradient = torch.tensor([3.0, 4.0])
    assert clip_norm_(gradient, 10.0) == 5.0
    assert gradient.tolist() == [3.0, 4.0]
    assert clip_norm_(gradient, 1.0) == 5.0
    torch.testing.assert_close(gradient, torch.tensor([0.6, 0.8]))
    assert clip_norm_(torch.tensor([float("nan")]), 1.0) != clip_norm_(torch.tensor([1.0]), 1.0)
