from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space

from envs.actions import adapt_actions


class Echo(gym.Env[Any, Any]):
    """Return each action in the info of its step."""

    def __init__(self, actions: Space[Any]) -> None:
        self.observation_space, self.action_space = Box(0.0, 1.0, (1,), np.float32), actions

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), 0.0, False, False, {"action": action}


def given(actions: Box, action: list[float]) -> Any:
    return adapt_actions(Echo(actions)).step(np.array(action, np.float32))[4]["action"]


def test_the_box_of_minus_one_to_one_needs_no_wrapper() -> None:
    env = Echo(Box(-1.0, 1.0, (3,), np.float32))
    assert adapt_actions(env) is env


def test_bounds_become_minus_one_and_one() -> None:
    space = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
    for action, expected in (
        ([-1.0, -1.0], [-2.0, 0.0]),
        ([1.0, 1.0], [2.0, 10.0]),
        ([0.5, 0.0], [1.0, 5.0]),
    ):
        np.testing.assert_allclose(given(space, action), expected, atol=1e-6)


def test_numbers_without_bounds_stay_and_half_bounds_hold() -> None:
    space = Box(
        np.array([-np.inf, 0.0, -2.0], np.float32), np.array([np.inf, np.inf, 2.0], np.float32)
    )
    np.testing.assert_allclose(given(space, [7.0, -3.0, 0.5]), [7.0, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_actions_of_any_shape_are_flat_for_the_policy(shape: tuple[int, ...]) -> None:
    env = adapt_actions(Echo(Box(-4.0, 4.0, shape, np.float32)))
    assert env.action_space.shape == (int(np.prod(shape)),)
    flat = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32)
    np.testing.assert_allclose(env.step(flat)[4]["action"], 4 * flat.reshape(shape), atol=1e-6)


@pytest.mark.parametrize(
    ("actions", "numbers", "arrives"),
    [
        (MultiDiscrete([3, 4], start=[0, 5]), [2, 3], [2, 8]),
        (MultiDiscrete([[2, 3], [4, 5]]), [1, 2, 3, 4], [[1, 2], [3, 4]]),
        (MultiBinary((2, 2)), [1, 0, 0, 1], [[1, 0], [0, 1]]),
    ],
)
def test_choices_arrive_in_the_environments_own_shape_and_from_its_own_start(
    actions, numbers, arrives
) -> None:
    env = adapt_actions(Echo(actions))
    assert isinstance(env.action_space, MultiDiscrete)
    assert env.action_space.shape == (len(numbers),)
    arrived = env.step(np.array(numbers))[4]["action"]
    assert arrived.tolist() == arrives
    assert actions.contains(arrived)


def test_a_discrete_action_counts_from_the_environments_own_start() -> None:
    env = adapt_actions(Echo(Discrete(3, start=-1)))
    assert env.action_space == Discrete(3)
    assert [env.step(i)[4]["action"] for i in range(3)] == [-1, 0, 1]
