import dataclasses

import pytest
import torch

from a3c.algorithm import Batch
from a3c.fast.kernels import empty
from a3c.segment import Segment
from tests.a3c.segments import make_model, make_segment


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


def weighted(recurrent: str = "none") -> Segment:
    return dataclasses.replace(make_segment(make_model(recurrent=recurrent), 5, 4), weight=0.7)


def test_parts_of_a_segment_keep_its_weight():
    segment = weighted()
    parts = [
        segment.flat(),
        segment.first(2),
        segment.first(5),
        segment.of(torch.tensor([2, 0])),
        *segment.split([1, 3]),
    ]
    assert [part.weight for part in parts] == 6 * [0.7]


def test_parts_of_a_segment_are_the_steps_that_they_say():
    segment = weighted()
    assert torch.equal(segment.flat().rewards, segment.rewards.reshape(1, -1))
    assert torch.equal(segment.first(2).actions, segment.actions[:2])
    one, three = segment.split([1, 3])
    assert torch.equal(torch.cat((one.values, three.values), 1), segment.values)
    assert torch.equal(segment.of(torch.tensor([2, 0])).starts, segment.starts[:, [2, 0]])


@pytest.mark.parametrize("recurrent", ["none", "lstm"])
def test_tensors_of_a_segment_and_of_a_batch_make_it_again(recurrent):
    segment = dataclasses.replace(weighted(recurrent), weight=1.0)
    again = Segment.from_tensors(segment.tensors())
    names = [field.name for field in dataclasses.fields(Segment) if field.name != "weight"]
    assert all(getattr(again, name) is getattr(segment, name) for name in names)
    batch = Batch(steps=segment, advantages=torch.randn(5, 4), returns=torch.randn(5, 4))
    other = Batch.from_tensors(batch.tensors())
    assert other.advantages is batch.advantages and other.returns is batch.returns
    assert all(a is b for a, b in zip(other.tensors(), batch.tensors(), strict=True))


def test_what_was_truncated_can_be_taken_for_terminated():
    segment = weighted()
    ended = segment.terminated | segment.truncated
    assert segment.truncated.any() and segment.terminated.any()
    segment.end_truncated_()
    assert torch.equal(segment.terminated, ended) and not segment.truncated.any()
