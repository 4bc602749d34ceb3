import numpy as np
import pytest
import torch

from shared_optim.mean import MOST_NUMBERS
from tests.shared_optim.teams import Team

P = 37


def averaged(gradients: torch.Tensor):
    """The means [W] of workers that each wrote a row of [W, P] and averaged a slice."""
    team = Team(*gradients.shape)
    means = [team.mean(worker) for worker in range(len(gradients))]
    for mean, gradient in zip(means, gradients, strict=True):
        mean.write(gradient)
    for mean in means:
        mean.average_slice()
    return means


@pytest.mark.parametrize("num_workers", [1, 2, 5, 40])  # also more workers than numbers
def test_slices_make_the_mean_and_its_norm(num_workers):
    torch.manual_seed(0)
    gradients = torch.randn(num_workers, P)
    for mean in averaged(gradients):
        torch.testing.assert_close(mean.gradient, gradients.mean(0))
        assert mean.norm == pytest.approx(float(gradients.mean(0).norm()))


def test_gradients_are_added_in_the_order_of_the_workers_numbers():
    """Float32 sums depend on their order: another order has other bits here."""
    torch.manual_seed(0)
    gradients = torch.randn(5, 1000) * torch.logspace(-3, 3, 5).unsqueeze(1)
    total = np.zeros(1000, np.float32)
    for row in gradients.numpy():
        total += row
    found = averaged(gradients)[0].gradient.numpy()
    np.testing.assert_array_equal(found, total / np.float32(5))
    assert (averaged(gradients.flip(0))[0].gradient.numpy() != found).any()


def test_a_gradient_that_is_not_finite_shows_in_the_norm():
    gradients = torch.ones(2, P)
    gradients[1, 3] = torch.nan
    assert all(np.isnan(mean.norm) for mean in averaged(gradients))


def test_a_mean_that_is_too_long_is_scaled_and_stays_as_it_was_for_a_replacement():
    torch.manual_seed(0)
    gradients = torch.randn(2, P)
    first, _ = averaged(gradients)
    norm = first.norm
    assert first.no_longer_than(2 * norm, norm=norm) is first.gradient
    for _ in range(2):
        short = first.no_longer_than(norm / 2, norm=norm)
        torch.testing.assert_close(short, gradients.mean(0) / 2)
        torch.testing.assert_close(first.gradient, gradients.mean(0))


@pytest.mark.parametrize("count", range(1, MOST_NUMBERS + 1))
def test_numbers_have_two_turns_so_that_who_is_ahead_overwrites_nothing(count):
    team = Team(3, 1)
    means = [team.mean(worker) for worker in range(3)]
    first, second = torch.randn(2, 3, count, dtype=torch.float64)
    for mean, values in zip(means, first, strict=True):
        mean.write_numbers(values, turn=0)
    means[0].write_numbers(second[0], turn=1)  # one is ahead
    for mean in means:
        torch.testing.assert_close(mean.numbers(count, turn=0), first.mean(0))
    for mean, values in zip(means[1:], second[1:], strict=True):
        mean.write_numbers(values, turn=1)
    for mean in means:
        torch.testing.assert_close(mean.numbers(count, turn=1), second.mean(0))
