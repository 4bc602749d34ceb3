"""Spaces that can be learned from, and sentences about those that cannot."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from envs.ids import EnvironmentProblem, resolve
from envs.make import check_spaces, make


class Odd(gym.Env[Any, Any]):
    def __init__(self, space: Any, actions: Any = None) -> None:
        self.observation_space = space
        self.action_space = Discrete(2) if actions is None else actions

    def reset(self, **kwargs: Any) -> Any:
        return self.observation_space.sample(), {}


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = gym.envs.registration.EnvSpec("Odd-v0", entry_point=lambda **kwargs: Odd(**kwargs))
    monkeypatch.setitem(gym.registry, "Odd-v0", spec)
    return lambda space, actions=None: resolve(
        "Odd-v0", env_kwargs={"space": space, "actions": actions}
    )


def test_dictionaries_are_flattened_and_pictures_refused(odd: Any) -> None:
    resolved = odd(Dict(where=Box(-1, 1, (2, 3)), what=Discrete(4)))
    env = make(resolved, training=True)
    observation, _ = env.reset()
    assert (observation.shape, observation.dtype) == ((10,), np.float32)
    with pytest.raises(EnvironmentProblem, match="is not supported: use Atari games, vectors"):
        make(odd(Box(0, 255, (64, 64, 3), np.uint8)), training=True)


class Riddle(gym.Space[Any]):
    """A space of somebody else's, which answers none of gymnasium's questions."""

    def __init__(self) -> None:
        super().__init__(shape=(), dtype=str)

    def sample(self, *arguments: Any, **options: Any) -> str:
        return "why?"


class Nameless(Riddle):
    def __str__(self) -> str:
        return "<a>\n" * 1000


UNFLAT = [
    Riddle(),
    Nameless(),
    Dict(known=Discrete(2), riddle=Riddle()),
    gym.spaces.Sequence(Discrete(2)),
    gym.spaces.Graph(Box(0, 1, (2,)), None),
    gym.spaces.Tuple([Discrete(2), gym.spaces.Sequence(Discrete(2))]),
    gym.spaces.Tuple([]),
    Dict(),
    Dict(known=Discrete(2), nothing=Dict()),
    Box(0, 1, (2, 0)),
]


@pytest.mark.parametrize("space", UNFLAT, ids=lambda space: type(space).__name__)
def test_spaces_without_a_fixed_size_are_refused_in_one_line(odd: Any, space: Any) -> None:
    with pytest.raises(EnvironmentProblem, match="is not supported: use ") as problem:
        make(odd(space), training=True)
    sentence = str(problem.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    with pytest.raises(
        EnvironmentProblem, match=r"actions .*, which are not supported yet: "
    ) as no:
        check_spaces(make(odd(Discrete(2), space), training=True))
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    "space",
    [
        Box(0, 255, (64, 64), np.uint8),
        Box(0, 255, (7, 7, 3), np.uint8),
        Box(0.0, 1.0, (64, 64), np.float32),
        Box(0.0, 1.0, (96, 96, 3), np.float32),
        Box(0.0, 1.0, (3, 96, 96), np.float64),
        Box(0, 65535, (40, 30), np.uint16),
        Dict(camera=Box(0, 255, (64, 64, 3), np.uint8), speed=Box(0.0, 1.0, (1,))),
        Tuple((Discrete(3), Dict(depth=Box(0.0, 9.0, (48, 64), np.float32)))),
    ],
)
def test_pictures_of_any_type_are_refused_wherever_they_are(odd: Any, space: Any) -> None:
    sentence = r"^Odd-v0 observes a picture, Box\(.*FlattenObservation\.$"
    with pytest.raises(EnvironmentProblem, match=sentence):
        make(odd(space), training=True)


@pytest.mark.parametrize("space", [Box(-1.0, 1.0, (10_001,)), Discrete(10**6)])
def test_a_vector_of_an_absurd_size_is_refused(odd: Any, space: Any) -> None:
    with pytest.raises(EnvironmentProblem, match=r"1.* numbers at once, .* at most 10,000"):
        make(odd(space), training=True)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Box(-1.0, 1.0, (4, 84), np.float32), 336),  # a history of vectors
        (Box(0, 1, (10, 10, 4), np.int8), 400),
        (Dict(board=Box(0, 2, (8, 8), np.uint8)), 64),
        (Box(0.0, 255.0, (9216,), np.float32), 9216),
    ],
)
def test_what_is_no_picture_is_a_vector(odd: Any, space: Any, size: int) -> None:
    assert make(odd(space), training=True).reset()[0].shape == (size,)


def test_only_choices_and_box_actions(odd: Any) -> None:
    for name in ("CartPole-v1", "Pendulum-v1"):
        check_spaces(make(resolve(name), training=True))
    for actions in (gym.spaces.Text(3), Box(0, 9, (2,), np.int64)):
        with pytest.raises(
            EnvironmentProblem,
            match=rf"{type(actions).__name__} actions .*, which are not supported yet",
        ):
            check_spaces(make(odd(Discrete(2), actions), training=True))
    for actions in (
        Discrete(2, start=1),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.MultiBinary((2, 2)),
    ):
        check_spaces(make(odd(Discrete(2), actions), training=True))


@pytest.mark.parametrize("space", [None, "a space", 3])
def test_an_environment_without_spaces_is_refused(odd: Any, space: Any) -> None:
    with pytest.raises(EnvironmentProblem, match=r"observation_space: let its constructor"):
        make(odd(space), training=True)
    with pytest.raises(EnvironmentProblem, match="a str as action_space: let its constructor set"):
        make(odd(Discrete(2), "an action"), training=True)


class Leaving(Odd):
    """An environment that ends the program where it is made, or fails where it is closed."""

    def __init__(self, *, leaves: bool) -> None:
        super().__init__(None)
        if leaves:
            raise SystemExit(0)

    def close(self) -> None:
        raise RuntimeError("it cannot be closed either")


@pytest.mark.parametrize(("leaves", "match"), [(True, "made .*SystemExit"), (False, "has no obs")])
def test_an_environment_neither_ends_the_program_nor_hides_its_first_problem(
    leaves: bool, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = gym.envs.registration.EnvSpec("Leaving-v0", entry_point=Leaving)
    monkeypatch.setitem(gym.registry, "Leaving-v0", spec)
    with pytest.raises(EnvironmentProblem, match=match):
        make(resolve("Leaving-v0", env_kwargs={"leaves": leaves}), training=True)
