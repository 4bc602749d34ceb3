from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.normaliser import STD_FLOOR, RewardScale, SharedNormaliser

batches = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12)), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(batches, st.integers(1, 4), st.integers(0, 1000), st.sampled_from([1.0, 1e3]))
def test_all_workers_together_equal_numpy_over_all_data(
    plan: list[tuple[int, int]], size: int, seed: int, offset: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.zeros((3, SharedNormaliser.row_size(size)))
    everything = []
    for row, length in plan:
        batch = rng.normal(offset, 3.0, (length, size)).astype(np.float32)
        everything.append(batch)
        SharedNormaliser(rows).update(row, batch)
    data = np.concatenate(everything).astype(np.float64)
    count, mean, std = SharedNormaliser(rows).merged()
    assert count == len(data)
    np.testing.assert_allclose(mean, data.mean(axis=0), rtol=1e-9)
    if count > 1:
        np.testing.assert_allclose(std, np.maximum(data.std(axis=0), STD_FLOOR), rtol=1e-6)


def test_pixels_are_one_exact_statistic() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, 1, 42, 42), dtype=np.uint8)
    rows = np.zeros((2, 3))
    shared = SharedNormaliser(rows)
    shared.update(0, frames[:7])
    shared.update(1, frames[7:])
    count, mean, std = shared.merged()
    assert count == frames.size
    np.testing.assert_allclose([mean[0], std[0]], [frames.mean(), frames.std()], rtol=1e-12)


def test_saturated_pixels_do_not_overflow() -> None:
    shared = SharedNormaliser(np.zeros((1, 3)))
    shared.update(0, np.full((80, 4, 84, 84), 255, np.uint8))
    _, mean, std = shared.merged()
    assert (mean[0], std[0]) == (255.0, STD_FLOOR)


def test_before_any_data_and_for_features_that_never_move() -> None:
    shared = SharedNormaliser(np.zeros((2, 5)))
    assert [part.tolist() for part in shared.merged()[1:]] == [[0, 0], [1, 1]]
    shared.update(0, np.array([[3.0, 1.0]]))
    assert [part.tolist() for part in shared.merged()[1:]] == [[3, 1], [1, 1]]
    shared.update(0, np.array([[3.0, 2.0]] * 5))
    assert shared.merged()[2][0] == STD_FLOOR


def test_samples_that_are_not_finite_are_left_out() -> None:
    shared = SharedNormaliser(np.zeros((1, 5)))
    shared.update(0, np.array([[1.0, 2.0], [np.nan, 9.0], [3.0, np.inf], [5.0, 6.0]]))
    shared.update(0, np.full((2, 2), np.nan))
    count, mean, _ = shared.merged()
    assert (count, mean.tolist()) == (2, [3.0, 4.0])


def test_one_writer_touches_its_row_only_and_in_place() -> None:
    rows = np.zeros((3, 3))
    SharedNormaliser(rows).update(1, np.ones((4, 1)))
    assert rows.tolist() == [[0, 0, 0], [4, 1, 0], [0, 0, 0]]


def test_a_row_in_its_first_write_is_not_data() -> None:
    rows = np.array([[2.0, 1.0, 0.5], [0.0, 77.0, 88.0]])
    state = SharedNormaliser(rows).state()
    assert [np.ravel(part).tolist() for part in state] == [[2.0], [1.0], [0.5]]


def test_state_and_load_go_round() -> None:
    rng = np.random.default_rng(1)
    first, second = (SharedNormaliser(np.zeros((4, 7))) for _ in range(2))
    for row in range(4):
        first.update(row, rng.normal(size=(5, 3)))
        second.update(row, rng.normal(size=(9, 3)))
    second.load(*first.state())
    np.testing.assert_allclose(np.hstack(second.merged()), np.hstack(first.merged()), rtol=1e-12)


@pytest.mark.parametrize("rows", [np.zeros((2, 4)), np.zeros(3), np.zeros((2, 3), np.float32)])
def test_rows_of_another_form_are_refused(rows: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="float64"):
        SharedNormaliser(rows)


def test_rewards_are_divided_by_the_deviation_of_their_discounted_sums() -> None:
    generator, gamma = np.random.default_rng(0), 0.9
    rewards = generator.normal(3.0, 2.0, (60, 4)).astype(np.float32)
    ended = generator.random((60, 4)) < 0.1
    sums, total = np.zeros((60, 4)), np.zeros(4)
    for t in range(60):
        total = gamma * total + rewards[t]
        sums[t] = total
        total = np.where(ended[t], 0.0, total)
    scale = RewardScale(SharedNormaliser(np.zeros((2, 3))), row=1, size=4, gamma=gamma)
    scaled = rewards.copy()
    for begin in range(0, 60, 20):  # sums go on from one segment to the next
        scale.update(scaled[begin : begin + 20], ended=ended[begin : begin + 20])
        scale.apply(scaled[begin : begin + 20])
    np.testing.assert_allclose(scaled[40:], rewards[40:] / sums.std(), rtol=1e-5)


def test_a_reward_that_is_not_a_number_spoils_its_own_step_only() -> None:
    scale = RewardScale(SharedNormaliser(np.zeros((1, 3))), row=0, size=1, gamma=0.9)
    scale.update(np.array([[np.nan]], np.float32), ended=np.array([[False]]))
    rewards = np.array([[1.0], [2.0]], np.float32)
    scale.update(rewards, ended=np.zeros((2, 1), np.bool_))
    scale.apply(rewards)
    assert np.isfinite(rewards).all()
