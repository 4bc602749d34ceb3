import pytest
import torch

from a3c.kernels import empty
from a3c.segment import Segment


@pytest.mark.parametrize("T", [1, 2])
def test_images_of_some_environments_are_theirs_and_stay_channels_last(T):
    N = 7
    observations = empty((T * N, 3, 5, 4), torch.uint8).random_(0, 255).unflatten(0, (T, N))
    actions = torch.arange(T * N).view(T, N)
    segment = Segment.seen(
        observations=observations,
        starts=torch.zeros(T, N, dtype=torch.bool),
        state=torch.zeros(N, 0),
        actions=actions,
    )
    order = torch.tensor([6, 0, 3, 3])
    some = segment.of(order)
    for n, environment in enumerate(order):
        assert torch.equal(some.observations[:, n], observations[:, environment])
        assert torch.equal(some.actions[:, n], actions[:, environment])
    assert some.observations.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
