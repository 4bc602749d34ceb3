"""Environments that keep dictionaries and arrays, or give what nothing can be learned from."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import (
    Box,
    Dict,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
    Text,
    Tuple,
)

from envs.batch import MAX_FAULTY, EnvironmentBatch
from envs.episodes import EpisodeStatistics
from envs.faults import LARGEST, FaultyNumber
from envs.ids import EnvironmentProblem, resolve
from envs.make import make
from envs.vectors import Vector

ID = "tests.envs.misbehaving:Misbehaving-v0"
INF, NAN = float("inf"), float("nan")


def batch_of(*kwargs: dict[str, Any]) -> EnvironmentBatch:
    envs = [make(resolve(ID, env_kwargs=chosen), training=True) for chosen in kwargs]
    batch = EnvironmentBatch(envs, seeds=range(len(envs)))
    batch.reset()
    return batch


def play(batch: EnvironmentBatch, steps: int) -> list[tuple[float, int]]:
    """Return the games that end within `steps` steps."""
    noops = np.zeros(len(batch.rewards), np.int64)
    return [game for _ in range(steps) for game in batch.step(noops)[1]]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"one_info": True},
        {"info": {"episode": 7}},
        {"info": {"episode": {"r": 50.0, "l": 9, "t": 0.1}}},
        {"info": {"episode": None, "lives": "many"}, "one_info": True},
        {"truncates": True, "one_info": True},
    ],
)
def test_what_an_environment_says_in_info_changes_nothing(kwargs: dict[str, Any]) -> None:
    assert play(batch_of(kwargs, kwargs), 7) == [(3.0, 3)] * 4


def test_an_environments_info_stays_as_it_made_it() -> None:
    env = make(resolve(ID, env_kwargs={"info": {"own": 1}, "one_info": True}), training=True)
    infos = [env.reset()[1], *(env.step(0)[4] for _ in range(3)), env.reset()[1]]
    assert infos == [{"own": 1}] * 5


def test_an_array_that_all_environments_reuse_spoils_nothing() -> None:
    kwargs = {"one_array": True, "truncates": True}
    batch = batch_of(kwargs, kwargs)
    assert batch.observations.tolist() == [[1, 0], [1, 0]]
    noops = np.zeros(2, np.int64)
    batch.step(noops)
    batch.step(noops)
    final, _ = batch.step(noops)
    assert {i: observation.tolist() for i, observation in final.items()} == {0: [1, 3], 1: [1, 3]}
    assert batch.observations.tolist() == [[2, 0], [2, 0]]
    env = make(resolve(ID, env_kwargs=kwargs), training=False)
    seen = [env.reset()[0], env.step(0)[0], env.step(0)[0]]
    assert np.stack(seen).tolist() == [[1, 0], [1, 1], [1, 2]]


FAULTY = [
    *({"rewards": {2: reward}} for reward in (NAN, INF, -INF, LARGEST, -1e30, 1e300)),
    *(
        {"observations": {2: np.array([0.0, number], np.float32)}}
        for number in (NAN, INF, -INF, 1e30)
    ),
    {"observations": {3: np.array([NAN, 0.0], np.float32)}},  # at the end of an episode
    {"observations": {3: np.array([NAN, 0.0], np.float32)}, "truncates": True},
]


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("kwargs", FAULTY)
def test_a_faulty_number_ends_its_episode_which_does_not_count(kwargs: dict[str, Any]) -> None:
    batch = batch_of(kwargs, {})
    noops, marks = np.zeros(2, np.int64), []
    for _ in range(3):
        final, games = batch.step(noops)
        assert final == {}
        assert np.isfinite(batch.observations).all()
        marks.append(
            [bool(np.isnan(batch.rewards[0])), *batch.terminated.tolist(), batch.truncated[0]]
        )
    at = max({**kwargs.get("rewards", {}), **kwargs.get("observations", {})})
    assert [marked for marked, *_ in marks] == [step == at for step in (1, 2, 3)]
    assert [truncated for *_, truncated in marks] == [step == at for step in (1, 2, 3)]
    assert games == [(3.0, 3)]  # of the other environment
    assert batch.observations[0].tolist() == [2, 3 - at]
    (fault,) = batch.take_faults()
    assert fault.startswith("Misbehaving-v0 gave ")
    assert fault.endswith("must be finite and smaller than 1e+19")
    assert batch.take_faults() == []


def test_a_fault_names_the_number_and_its_place() -> None:
    batch = batch_of({"rewards": {1: NAN}}, {"observations": {1: np.array([0.0, -INF])}})
    play(batch, 1)
    assert [fault.partition(";")[0] for fault in batch.take_faults()] == [
        "Misbehaving-v0 gave the reward nan",
        "Misbehaving-v0 gave -inf as number 1 of an observation (of 2, from 0)",
    ]


def test_large_numbers_with_a_square_are_no_fault() -> None:
    numbers = np.full(2, 0.99 * LARGEST, np.float32)
    batch = batch_of({"rewards": {2: -0.99 * LARGEST}, "observations": {2: numbers}})
    assert len(play(batch, 3)) == 1
    assert batch.take_faults() == []
    many = Vector(Observing(Box(-np.inf, np.inf, (400,)), np.full(400, 0.9 * LARGEST, np.float32)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert many.reset()[0].shape == (400,)


def test_an_environment_with_nothing_but_faulty_episodes_is_refused() -> None:
    sentence = rf"gave the reward nan; .* last {MAX_FAULTY} episodes of a worker were all faulty"
    for kwargs in ({"rewards": {1: NAN}}, {"rewards": {3: NAN}}):
        with pytest.raises(EnvironmentProblem, match=sentence):
            play(batch_of(kwargs), 3 * MAX_FAULTY)
    with pytest.raises(EnvironmentProblem, match=r"gave nan as number 0 of an observation"):
        batch_of({"observations": {0: np.array([NAN, 0.0])}})


def test_faulty_episodes_between_sound_ones_are_not_too_many() -> None:
    batch = batch_of({"rewards": {1: NAN}}, {})
    assert len(play(batch, 3 * MAX_FAULTY)) == MAX_FAULTY
    assert len(batch.take_faults()) == 3 * MAX_FAULTY


@pytest.mark.parametrize("reward", [None, "much", [1.0, 2.0]])
def test_a_reward_that_is_no_number_is_refused(reward: Any) -> None:
    with pytest.raises(EnvironmentProblem, match=r"Misbehaving-v0 gave the reward .* a number"):
        play(batch_of({"rewards": {1: reward}}), 1)


class Observing(gym.Env[Any, Any]):
    """Promise a space, and observe something."""

    def __init__(self, space: Space[Any], observation: Any) -> None:
        self.observation_space, self.action_space = space, Discrete(2)
        self._observation = observation

    def reset(self, **kwargs: Any) -> Any:
        return self._observation, {}


BOX = Box(-1.0, 1.0, (4,), np.float32)
PAIR = Dict(where=BOX, what=Discrete(3))


@pytest.mark.parametrize(
    ("space", "observation", "sentence"),
    [
        (BOX, np.float32(0.5), r"promised Box\(.*\) as the observation and gave np.float32\(0.5\)"),
        (BOX, 0.5, r"gave 0.5;"),
        (BOX, np.zeros(1), r"gave shape \(1,\) of float64;"),
        (BOX, np.zeros((1, 4)), r"gave shape \(1, 4\) of float64;"),
        (BOX, np.zeros((4, 1)), r"gave shape \(4, 1\) of float64;"),
        (BOX, np.zeros(5), r"gave shape \(5,\) of float64;"),
        (BOX, [1, 2, [3], 4], r"gave shape \(4,\) of object;"),
        (BOX, np.zeros(4, complex), r"gave shape \(4,\) of complex128;"),
        (BOX, None, r"gave None"),
        (Box(-1.0, 1.0, (2, 2)), np.zeros(4), r"gave shape \(4,\)"),
        (Discrete(3), 3, r"promised Discrete\(3\) as the observation and gave 3"),
        (Discrete(3), -1, r"gave -1"),
        (Discrete(3), 1.0, r"gave 1.0"),
        (Discrete(3), np.array([1]), r"gave shape \(1,\)"),
        (Discrete(3, start=5), 2, r"gave 2"),
        (Discrete(3), 2**64 - 1, r"gave 18446744073709551615;"),
        (MultiDiscrete([2, 3]), np.array([0, 3]), r"gave \[0, 3\];"),
        (MultiBinary(3), np.zeros(2, np.int8), r"gave shape \(2,\)"),
        (PAIR, {"where": np.zeros(3), "what": 1}, r"as the observation\['where'\] and gave shape"),
        (PAIR, {"where": np.zeros(4)}, r"the entries .*'what'.* and gave the entries 'where';"),
        (PAIR, np.zeros(4), r"promised the entries .* and gave shape \(4,\) of float64;"),
        (Tuple((BOX, BOX)), (np.zeros(3), np.zeros(5)), r"as the observation\[0\]"),
        (Tuple((BOX, BOX)), (np.zeros(4),), r"promised a tuple of 2 as .* and gave one of 1;"),
        (BOX, "all is well, " * 99, r"gave 'all is well, .{,160}\.\.\.;"),
        (Text(5), 7, r"promised Text\(.*\) as the observation and gave 7;"),
    ],
)
def test_an_observation_of_another_form_than_promised_is_refused(
    space: Space[Any], observation: Any, sentence: str
) -> None:
    with pytest.raises(EnvironmentProblem, match=rf"^Observing .*{sentence}.*observation_space"):
        Vector(Observing(space, observation)).reset()


@pytest.mark.parametrize(
    ("space", "observation"),
    [
        (BOX, [0.0, 1, 2, 3]),
        (BOX, np.arange(4)),
        (BOX, np.arange(4.0)),  # float64 for float32, as many environments do
        (Box(0, 9, (4,), np.int64), np.arange(4.0)),
        (Box(-1.0, 1.0, (), np.float32), 0.5),
        (Discrete(3), np.int64(2)),
        (Discrete(3), np.array(2, np.uint8)),
        (Discrete(3, start=-1), -1),
        (MultiDiscrete([[2, 3], [4, 5]]), [[1, 2], [3, 4]]),
        (MultiDiscrete([3, 3], start=[5, 0], dtype=np.int32), np.array([7, 2])),
        (MultiBinary((2, 2)), np.array([[True, False], [True, True]])),
    ],
)
def test_an_observation_of_the_promised_form_is_gymnasiums_vector(
    space: Space[Any], observation: Any
) -> None:
    for whole, given in (
        (space, observation),
        (
            Dict(z=space, a=Tuple((Discrete(2), space))),
            {"z": observation, "a": (1, observation), "more": 0},
        ),
    ):
        vector, _ = Vector(Observing(whole, given)).reset()
        own = np.asarray(given) if whole is space else given
        expected: Any = gym.spaces.flatten(whole, own)
        assert vector.dtype == np.float32
        np.testing.assert_array_equal(vector, expected)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint64])
def test_choices_may_be_numbers_of_any_whole_type(dtype: Any) -> None:
    choices = MultiDiscrete([2, 3], start=[0, -1])
    one_hot = Vector(Observing(choices, np.array([1, 1], dtype))).reset()[0]
    assert one_hot.tolist() == [0, 1, 0, 0, 1]


def test_a_vector_is_a_copy_of_what_the_environment_keeps() -> None:
    kept = np.zeros(4, np.float32)
    vector, _ = Vector(Observing(BOX, kept)).reset()
    kept[:] = 7.0
    assert vector.tolist() == [0.0] * 4


def test_a_faulty_number_of_a_part_is_one_of_the_vector() -> None:
    observation = {"where": np.array([0, 0, NAN, 0], np.float32), "what": 1}
    with pytest.raises(FaultyNumber, match=r"gave nan as number 2 of an observation \(of 7"):
        Vector(EpisodeStatistics(Observing(PAIR, observation))).reset()
