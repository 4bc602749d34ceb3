from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.batch import EnvironmentBatch
from envs.episodes import EpisodeStatistics
from envs.state import DoesNotFit
from tests.envs.fakes import Scripted


class Ending(Scripted):
    """Scripted, with the given flags at the end of its script."""

    def __init__(self, *, terminated: bool, truncated: bool, length: int) -> None:
        super().__init__(lives=[1] * length)
        self.flags = terminated, truncated
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seeds.append(seed)
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        frame, reward, _, _, info = super().step(action)
        ended = self.elapsed == len(self.script)
        return frame, reward, ended and self.flags[0], ended and self.flags[1], info


def make_batch(*flags: tuple[bool, bool], length: int = 2) -> tuple[EnvironmentBatch, list[Ending]]:
    games = [
        Ending(terminated=terminated, truncated=truncated, length=length)
        for terminated, truncated in flags
    ]
    counted = [EpisodeStatistics(game) for game in games]
    return EnvironmentBatch(counted, seeds=range(len(games))), games


def test_terminated_truncated_and_both() -> None:
    batch, _ = make_batch((True, False), (False, True), (True, True), (False, False), length=2)
    buffers = batch.observations, batch.rewards, batch.terminated, batch.truncated
    batch.reset()
    assert batch.observations.ravel().tolist() == [100] * 4
    assert batch.step(np.zeros(4, np.int64)) == ({}, [])
    assert batch.observations.ravel().tolist() == [101] * 4
    final, finished = batch.step(np.zeros(4, np.int64))
    assert batch.terminated.tolist() == [True, False, True, False]
    assert batch.truncated.tolist() == [False, True, False, False]
    assert {index: observation.tolist() for index, observation in final.items()} == {1: [102.0]}
    assert finished == [(2.0, 2)] * 3
    assert batch.observations.ravel().tolist() == [200, 200, 200, 102]
    now = batch.observations, batch.rewards, batch.terminated, batch.truncated
    assert all(one is other for one, other in zip(now, buffers, strict=True))


def test_each_environment_is_seeded_once() -> None:
    batch, games = make_batch((True, False), (True, False), length=1)
    batch.reset()
    batch.step(np.zeros(2, np.int64))
    batch.reset()
    assert [game.seeds for game in games] == [[0, None, None], [1, None, None]]


def test_actions_go_to_their_environments() -> None:
    batch, games = make_batch((True, False), (True, False), length=9)
    batch.reset()
    batch.step(np.array([2, 1]))
    assert [game.actions for game in games] == [[2], [1]]
    assert batch.rewards.tolist() == [1.0, 1.0]


def test_flags_are_those_of_the_last_step_only() -> None:
    batch, _ = make_batch((True, False), length=2)
    batch.reset()
    flags = [bool(batch.step(np.zeros(1, np.int64)) and batch.terminated[0]) for _ in range(4)]
    assert flags == [False, True, False, True]


def test_mistakes() -> None:
    game: gym.Env[Any, Any] = Scripted(lives=[1])
    with pytest.raises(ValueError, match="need as many seeds"):
        EnvironmentBatch([game], seeds=[1, 2])
    with pytest.raises(ValueError, match="nothing counts the games"):
        EnvironmentBatch([game], seeds=[1])
    with pytest.raises(ValueError, match="one shape"):
        EnvironmentBatch([game, Scripted(lives=[1], shape=(2,))], seeds=[1, 2])


def test_a_batch_goes_on_with_what_its_environments_share() -> None:
    def make(seeds: tuple[int, int]) -> tuple[EnvironmentBatch, list[Ending]]:
        batch, games = make_batch((True, False), (True, False), length=3)
        games[1].actions = games[0].actions  # one list for both
        batch.reset()
        return batch, games

    first, games = make((1, 2))
    first.step(np.ones(2, np.int64))
    second, restored = make((3, 4))
    second.load_state(first.state())
    assert restored[0].actions is restored[1].actions
    for batch in (first, second):
        batch.step(np.zeros(2, np.int64))
    assert restored[0].actions == games[0].actions == [1, 1, 0, 0]
    np.testing.assert_array_equal(first.observations, second.observations)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    first, _ = make_batch((True, False), (True, False))
    second, games = make_batch((True, False), length=2)
    first.reset()
    second.reset()
    before = second.observations.copy()
    with pytest.raises(DoesNotFit, match=r"\[2, 1\].*\[1, 1\]"):
        second.load_state(first.state())
    np.testing.assert_array_equal(second.observations, before)
    assert games[0].games == 1
