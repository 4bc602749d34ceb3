"""Several environments of one worker, stepped one after another."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from envs.episodes import Games, statistics_of
from envs.faults import FaultyNumber
from envs.ids import EnvironmentProblem
from envs.state import DoesNotFit, constants_of, load_states, save_states

MAX_FAULTY = 100  # episodes in a row, before an environment counts as unusable


class EnvironmentBatch:
    """B environments in this process.

    `reset` and `step` overwrite the four public arrays in place.

    An episode ends where its environment gives a number that nothing can be learned from. The
    reward of that step is NaN, which marks it. The next episode begins, and nothing of that number
    or of what came with it is in the arrays.
    """

    def __init__(self, environments: Sequence[gym.Env[Any, Any]], *, seeds: Sequence[int]) -> None:
        """Take one seed for each environment.

        Raises ValueError if the numbers differ, the observations have different shapes, or nothing
        counts an environment's games; `envs.make.make` returns environments that do.
        """
        if not environments or len(environments) != len(seeds):
            raise ValueError(
                f"{len(environments)} environments need as many seeds, and at least one, "
                f"not {len(seeds)}"
            )
        space = environments[0].observation_space
        assert space.shape is not None
        if any(env.observation_space.shape != space.shape for env in environments):
            raise ValueError("the environments of one batch must have observations of one shape")
        self._environments = list(environments)
        self._constants = constants_of(environments)
        self._statistics = [statistics_of(env) for env in environments]
        self._faults: list[str] = []
        self._faulty_in_a_row = 0
        self._seeds: list[int | None] = list(seeds)
        size = len(environments)
        self.observations = _zeros((size, *space.shape), space.dtype)  # [B, *shape]
        self.rewards = np.zeros(size, np.float32)  # [B]
        self.terminated = np.zeros(size, np.bool_)  # [B]
        self.truncated = np.zeros(size, np.bool_)  # [B]

    def reset(self) -> NDArray[Any]:
        """Start every environment anew and return `observations`; seed the first time only."""
        for i in range(len(self._environments)):
            self._begin(i, seed=self._seeds[i])
            self._seeds[i] = None
        self.rewards[:] = 0.0
        self.terminated[:] = self.truncated[:] = False
        return self.observations

    def step(self, actions: NDArray[Any]) -> tuple[dict[int, NDArray[Any]], Games]:
        """Step with `actions` [B] or [B, A]; start the next episode where one ended.

        There, `observations` hold the first observation of the next episode. Returns two things:
        the final observations by index where an episode was truncated and not terminated, and
        (raw return, length) of each game that ended.

        Raises EnvironmentProblem after many episodes in a row with faulty numbers.
        """
        final_observations: dict[int, NDArray[Any]] = {}
        finished: Games = []
        for i, env in enumerate(self._environments):
            try:
                observation, reward, terminated, truncated, _ = env.step(actions[i])
            except FaultyNumber as fault:
                self._end_faulty(i, fault)
                continue
            if terminated or truncated:
                if not terminated:
                    final_observations[i] = np.array(observation, self.observations.dtype)
                self._begin(i)
                # A game may end inside a reset, too, while it waits for the next life.
                finished += self._statistics[i].take()
            else:
                self.observations[i] = observation
            self.rewards[i] = reward
            self.terminated[i] = terminated
            self.truncated[i] = truncated and not terminated
        if finished:
            self._faulty_in_a_row = 0
        return final_observations, finished

    def take_faults(self) -> list[str]:
        """Return one sentence for each faulty episode since the last call."""
        faults, self._faults = self._faults, []
        return faults

    def _begin(self, i: int, seed: int | None = None) -> None:
        """Begin an episode; another one if its first observation is faulty."""
        while True:
            try:
                self.observations[i], _ = self._environments[i].reset(seed=seed)
                return
            except FaultyNumber as fault:
                self._note(fault)
                seed = None

    def _end_faulty(self, i: int, fault: FaultyNumber) -> None:
        """End an episode where its environment gave a faulty number; begin the next one."""
        self._note(fault)
        self._statistics[i].take()  # it may have ended by itself at that step, and does not count
        self._begin(i)
        self.rewards[i] = np.nan
        self.terminated[i], self.truncated[i] = False, True

    def _note(self, fault: FaultyNumber) -> None:
        self._faults.append(str(fault))
        self._faulty_in_a_row += 1
        if self._faulty_in_a_row >= MAX_FAULTY:
            raise EnvironmentProblem(
                f"{fault} (the last {MAX_FAULTY} episodes of a worker were all faulty)"
            )

    def state(self) -> dict[str, Any]:
        """Return all that determines, with the actions, what happens next.

        Raises Unsaveable if an environment holds something of an unknown kind.
        """
        return {
            "environments": save_states(self._environments, self._constants),
            "observations": torch.from_numpy(self.observations.copy()),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken; needs as many environments, made in the same way.

        Raises DoesNotFit if they were made otherwise; then nothing has changed.
        """
        observations = state["observations"].numpy()
        if observations.shape != self.observations.shape:
            raise DoesNotFit(
                f"the saved observations are {list(observations.shape)}, "
                f"and those of the environments {list(self.observations.shape)}"
            )
        load_states(self._environments, state["environments"])
        self.observations[:] = observations

    def close(self) -> None:
        """Close every environment; an error is raised when all have been tried."""
        with contextlib.ExitStack() as stack:
            for env in reversed(self._environments):
                stack.callback(env.close)


def _zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    if len(shape) != 4:
        return np.zeros(shape, dtype)
    size, channels, height, width = shape
    # The network wants the memory layout channels_last.
    return np.zeros((size, height, width, channels), dtype).transpose(0, 3, 1, 2)
