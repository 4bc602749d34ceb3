from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from envs.actions import action_maker, adapt_actions, own_space, policy_space, scaling
from envs.batch import EnvironmentBatch
from envs.episodes import EpisodeStatistics

FLOATS = (np.float16, np.float32, np.float64)


class Echo(gym.Env[Any, Any]):
    """Return each action in the info of its step."""

    def __init__(self, actions: Space[Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (1,), np.float32), actions
        self.actions: list[Any] = []

    def reset(self, **kwargs: Any) -> Any:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(action)
        return np.zeros(1, np.float32), 0.0, False, False, {"action": action}


def arrived(actions: Box, action: list[float]) -> Any:
    return adapt_actions(Echo(actions)).step(np.array(action, np.float32))[4]["action"]


def box(low: Any, high: Any, dtype: Any = np.float32) -> Box:
    return Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype)


def is_own(space: Space[Any], action: Any) -> bool:
    """Return whether the space contains the action, and the action is what the space samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # gymnasium converts some wrong types, and warns
        sample = space.sample()
        return (
            space.contains(action)
            and type(action) is type(sample)
            and action.dtype == space.dtype == sample.dtype
        )


@pytest.mark.parametrize(
    "actions",
    [
        Box(-1.0, 1.0, (3,), np.float32),
        Box(-np.inf, np.inf, (3,), np.float32),
        Discrete(4),
        MultiDiscrete([2, 3]),
    ],
)
def test_what_a_policy_gives_needs_no_wrapper_where_it_is_the_environments_own(
    actions: Space[Any],
) -> None:
    env = Echo(actions)
    assert adapt_actions(env) is env
    assert own_space(env) is actions


def test_bounds_become_minus_one_and_one() -> None:
    space = box([-2.0, 0.0], [2.0, 10.0])
    for action, expected in (
        ([-1.0, -1.0], [-2.0, 0.0]),
        ([1.0, 1.0], [2.0, 10.0]),
        ([0.5, 0.0], [1.0, 5.0]),
    ):
        np.testing.assert_allclose(arrived(space, action), expected, atol=1e-6)


def test_numbers_without_bounds_stay_and_half_bounds_hold() -> None:
    space = box([-np.inf, 0.0, -2.0], [np.inf, np.inf, 2.0])
    np.testing.assert_allclose(arrived(space, [7.0, -3.0, 0.5]), [7.0, 0.0, 1.0], atol=1e-6)
    for low, high, given_, expected in (
        ([0.5, 0.5], [np.inf, np.inf], [-3.0, 9.0], [0.5, 9.0]),
        ([-np.inf, -np.inf], [0.5, 0.5], [-3.0, 9.0], [-3.0, 0.5]),
    ):
        np.testing.assert_array_equal(arrived(box(low, high), given_), expected)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_actions_of_any_shape_are_flat_for_the_policy(shape: tuple[int, ...]) -> None:
    env = adapt_actions(Echo(Box(-4.0, 4.0, shape, np.float32)))
    assert env.action_space.shape == (int(np.prod(shape)),)
    flat = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32)
    np.testing.assert_allclose(env.step(flat)[4]["action"], 4 * flat.reshape(shape), atol=1e-6)


@pytest.mark.parametrize(
    ("actions", "numbers", "expected"),
    [
        (MultiDiscrete([3, 4], start=[0, 5]), [2, 3], [2, 8]),
        (MultiDiscrete([[2, 3], [4, 5]]), [1, 2, 3, 4], [[1, 2], [3, 4]]),
        (MultiBinary((2, 2)), [1, 0, 0, 1], [[1, 0], [0, 1]]),
    ],
)
def test_choices_arrive_in_the_environments_own_shape_and_from_its_own_start(
    actions, numbers, expected
) -> None:
    env = adapt_actions(Echo(actions))
    assert isinstance(env.action_space, MultiDiscrete)
    assert env.action_space.shape == (len(numbers),)
    action = env.step(np.array(numbers))[4]["action"]
    assert action.tolist() == expected
    assert is_own(actions, action)


def test_a_discrete_action_counts_from_the_environments_own_start() -> None:
    env = adapt_actions(Echo(Discrete(3, start=-1)))
    assert env.action_space == Discrete(3)
    assert [env.step(i)[4]["action"] for i in range(3)] == [-1, 0, 1]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_ends_of_boxes_are_their_bounds_whatever_their_digits(dtype: Any) -> None:
    bounds = np.sort(np.random.default_rng(0).integers(-1000, 1000, (2, 2000)), axis=0) / 100
    space = box(*bounds, dtype)
    assert is_own(space, action_maker(space)(np.linspace(-1, 1, 2000, dtype=np.float32)))
    for end, bound in ((-1, space.low), (1, space.high)):
        action = action_maker(space)(np.full(2000, end, np.float32))
        assert is_own(space, action)
        np.testing.assert_allclose(action, bound, rtol=0, atol=1e-14)


def test_equal_bounds_leave_one_value() -> None:
    space = box([0.25, -1.0], [0.25, 1.0])
    for number in (-1.0, 0.3, 1.0):
        np.testing.assert_array_equal(arrived(space, [number, number]), np.float32([0.25, number]))


def test_almost_one_is_not_one() -> None:
    nearly = np.nextafter(np.float32(1), np.float32(0))
    space = box([-nearly], [nearly])
    assert is_own(space, arrived(space, [1.0]))


def test_the_widest_box_gives_finite_numbers() -> None:
    for dtype in FLOATS:
        largest = np.finfo(dtype).max
        space = box([-largest, 0], [largest, np.inf], dtype)
        for number in (-1.0, 0.5, 1.0):
            action = action_maker(space)(np.array([number, number], np.float32))
            assert np.isfinite(action).all()
            assert space.contains(action)


@pytest.mark.parametrize(
    ("actions", "given_"),
    [
        (Discrete(3), 2),
        (Discrete(3, start=5, dtype=np.int32), 2),
        (Discrete(3, dtype=np.uint8), 0),
        (MultiDiscrete([3, 4], dtype=np.int32), [2, 3]),
        (MultiDiscrete([3, 4], dtype=np.int8, start=np.array([-3, 120], np.int8)), [2, 3]),
        (MultiBinary(2), [1, 0]),
        (Box(-1.0, 1.0, (2,), np.float64), [0.5, 1.0]),
        (Box(-1.0, 1.0, (2,), np.float16), [0.5, 1.0]),
        (Box(-1.0, 1.0, (2,), np.float32), [0.5, 1.0]),
    ],
)
def test_training_hands_the_same_kind_of_action_as_evaluation(actions, given_) -> None:
    space: Any = policy_space(actions)
    output = np.array(given_, space.dtype)
    trained, evaluated = Echo(actions), Echo(actions)
    batch = EnvironmentBatch([EpisodeStatistics(adapt_actions(trained))], seeds=[0])
    batch.reset()
    batch.step(output[None])
    adapt_actions(evaluated).step(output[None][0])
    for env in (trained, evaluated):
        assert is_own(actions, env.actions[0]), (actions, repr(env.actions[0]))
    np.testing.assert_array_equal(trained.actions[0], evaluated.actions[0])


def test_scaling_says_in_numbers_what_is_done_to_a_box() -> None:
    space = box([0.2, -np.inf, 3.0], [0.8, np.inf, 3.0])
    output = np.array([0.37, -5.0, 0.9], np.float32)
    middle, half, low, high = scaling(space)
    by_hand = np.clip(middle + half * output, low, high).astype(space.dtype)
    np.testing.assert_array_equal(action_maker(space)(output), by_hand)
    env = adapt_actions(Echo(space))
    assert own_space(gym.wrappers.TimeLimit(env, 5)) is space


bounds = st.one_of(
    st.just(np.inf), st.floats(-1e4, 1e4, width=16), st.integers(-999, 999).map(lambda n: n / 100)
)


@st.composite
def boxes(draw: Any) -> Box:
    dtype = draw(st.sampled_from(FLOATS))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, max_side=3))
    pairs = draw(st.lists(st.tuples(bounds, bounds), min_size=1, max_size=3))
    low, high = (
        np.resize(np.array(values, dtype), shape)
        for values in zip(*((min(-a, b), max(-a, b)) for a, b in pairs), strict=True)
    )
    return Box(low, high, shape, dtype)


integers = st.sampled_from((np.int8, np.int16, np.int32, np.int64))
shapes = arrays.array_shapes(max_dims=2, max_side=3)
discretes = st.builds(
    lambda n, start, dtype: Discrete(n, start=start, dtype=dtype),
    st.integers(1, 20),
    st.integers(-20, 20),
    integers,
)
multi_discretes = st.builds(
    lambda nvec, start, dtype: MultiDiscrete(nvec, dtype=dtype, start=np.full_like(nvec, start)),
    shapes.flatmap(lambda shape: arrays.arrays(np.int8, shape, elements=st.integers(1, 9))),
    st.integers(-20, 20),
    integers,
)
spaces = st.one_of(boxes(), discretes, multi_discretes, st.builds(MultiBinary, shapes))


@settings(max_examples=300, deadline=None)
@given(space=spaces, seed=st.integers(0, 99))
def test_every_action_is_one_of_the_environments_space(space: Space[Any], seed: int) -> None:
    own, policys = action_maker(space), policy_space(space)
    policys.seed(seed)
    outputs = [policys.sample() for _ in range(5)]
    if isinstance(policys, Box):  # its ends, too, and what no bound of its own holds back
        outputs += [np.full(policys.shape, number, np.float32) for number in (-1, 0, 1, 1e30)]
    for output in outputs:
        assert is_own(space, own(output)), (space, output, own(output))
