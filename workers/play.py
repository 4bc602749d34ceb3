"""Playing whole episodes with a fixed policy, for the test worker and enjoy.py."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from a3c.networks.actor_critic import ActorCritic
from envs.episodes import statistics_of
from envs.faults import FaultyNumber
from workers.records.evaluation import Evaluation

Frame = NDArray[np.uint8]
Episode = tuple[float, int]  # return, length


def refuse(fault: FaultyNumber) -> None:
    """Raise the fault of an environment."""
    raise fault


@torch.inference_mode()
def play_episodes(
    model: ActorCritic,
    environments: list[gym.Env],
    *,
    seeds: list[int],
    sampled: bool,
    steps: int,
    on_action: Callable[[Any], None] = lambda action: None,
    on_fault: Callable[[FaultyNumber], None] = refuse,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Play one episode in each environment, side by side; return None if `interrupted`.

    The policy has been trained for `steps` environment steps. `sampled`: draw the actions, instead
    of taking the most probable; each episode has random numbers of its own, from its seed.
    `on_action` is called with the actions of the first one. `on_fault` is called for a faulty
    number of an environment, which ends the episode; its return is NaN.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    games = [
        _Game(environment, seed, on_fault)
        for environment, seed in zip(environments, seeds, strict=True)
    ]
    state = model.initial_state(len(games))
    while active := [i for i, game in enumerate(games) if game.end is None]:
        if interrupted():
            return None
        batch = torch.from_numpy(np.stack([games[i].observation for i in active]))
        logits, _, next_state = model.step(batch, state[active])
        state[active] = next_state
        actions = _choose(model, logits, [generators[i] for i in active] if sampled else None)
        for i, action in zip(active, actions, strict=True):
            if i == 0:
                on_action(action)
            games[i].step(action)
    ends = [game.end for game in games if game.end is not None]
    return Evaluation(
        steps=steps,
        returns=tuple(return_ for return_, _ in ends),
        lengths=tuple(length for _, length in ends),
    )


def replay(
    environment: gym.Env,
    *,
    seed: int,
    actions: Sequence[Any],
    interrupted: Callable[[], bool],
) -> Episode | None:
    """Play an episode again with its actions; return its end, or None if `interrupted`.

    An environment that repeats itself from its seed plays the same episode. Of one that goes on
    after the last action the return is NaN.
    """
    game = _Game(environment, seed, lambda fault: None)
    for action in actions:
        if interrupted():
            return None
        game.step(action)
        if game.end is not None:
            return game.end
    return math.nan, len(actions)


class _Game:
    """One episode of an environment."""

    observation: NDArray[Any]
    end: Episode | None = None  # once it is over

    def __init__(
        self, environment: gym.Env, seed: int, on_fault: Callable[[FaultyNumber], None]
    ) -> None:
        self._environment, self._on_fault = environment, on_fault
        self._statistics, self._length = statistics_of(environment), 0
        try:
            self.observation, _ = environment.reset(seed=seed)
        except FaultyNumber as fault:
            self._fail(fault)
        self._statistics.take()  # what has ended before

    def step(self, action: Any) -> None:
        """Take one step."""
        try:
            self.observation, _, terminated, truncated, _ = self._environment.step(action)
        except FaultyNumber as fault:
            self._fail(fault)
            return
        self._length += 1
        if terminated or truncated:
            self.end = self._statistics.take()[-1]

    def _fail(self, fault: FaultyNumber) -> None:
        self._on_fault(fault)
        self.end = math.nan, self._length


def _choose(
    model: ActorCritic,
    logits: torch.Tensor,
    generators: list[torch.Generator] | None,
) -> NDArray[np.generic]:
    """Draw actions, each with a generator, or take the most probable; for the environments."""
    if generators is None:
        actions = model.head.mode(logits)
    else:
        noise = torch.cat([model.head.noise((1,), generator) for generator in generators])
        actions = model.head.sample(logits, noise)
    return model.head.to_environment(actions).numpy()
