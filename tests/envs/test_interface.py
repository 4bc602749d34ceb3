"""Environments whose methods return something else than gymnasium's."""

import gymnasium as gym
import numpy as np
import pytest

from envs.ids import EnvironmentProblem, resolve
from envs.make import make
from envs.toys import Bandit

ZEROS = np.zeros(3, np.float32)


class Other(Bandit):
    def __init__(self, *, method, returns):
        super().__init__()
        setattr(self, method, lambda *arguments, **options: returns)


@pytest.fixture
def other(monkeypatch):
    spec = gym.envs.registration.EnvSpec("Other-v0", entry_point=Other)
    monkeypatch.setitem(gym.registry, "Other-v0", spec)

    def play(method, returns):
        resolved = resolve("Other-v0", env_kwargs={"method": method, "returns": returns})
        env = make(resolved, training=True, max_episode_length=5)
        env.reset(seed=0)
        for _ in range(3):
            env.step(0)

    return play


@pytest.mark.parametrize("returns", [np.zeros(2), ZEROS, None, (ZEROS,), (ZEROS, {}, 1)])
def test_what_reset_returns_is_a_pair_or_is_refused(other, returns):
    with pytest.raises(EnvironmentProblem, match=r"^Other-v0: reset\(\) must return .*shimmy's\.$"):
        other("reset", returns)


@pytest.mark.parametrize(
    "returns",
    [
        (ZEROS, 1.0, False, {}),
        None,
        7,
        (ZEROS, 1.0, np.zeros(2), False, {}),
        (ZEROS, 1.0, False, False, {}, 1),
    ],
)
def test_what_step_returns_is_five_values_or_is_refused(other, returns):
    with pytest.raises(EnvironmentProblem, match=r"^Other-v0: step\(\) must return .*shimmy's\.$"):
        other("step", returns)


def test_an_error_of_the_environments_own_stays_what_it_is(monkeypatch):
    class Failing(Bandit):
        def step(self, action):
            raise ValueError("mine")

    spec = gym.envs.registration.EnvSpec("Failing-v0", entry_point=Failing)
    monkeypatch.setitem(gym.registry, "Failing-v0", spec)
    env = make(resolve("Failing-v0"), training=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^mine$"):
        env.step(0)
