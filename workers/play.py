"""Playing whole episodes with a fixed policy, for the test worker and enjoy.py."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from a3c.networks.actor_critic import ActorCritic
from workers.records.evaluation import Evaluation

Frame = NDArray[np.uint8]
Episode = tuple[float, int]  # return, length


@torch.inference_mode()
def play_episodes(
    model: ActorCritic,
    environments: list[gym.Env],
    *,
    seeds: list[int],
    sampled: bool,
    steps: int,
    on_action: Callable[[Any], None] = lambda action: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Play one episode in each environment, side by side; return None if `interrupted`.

    The policy has been trained for `steps` environment steps. `sampled`: draw the actions, instead
    of taking the most probable; each episode has random numbers of its own, from its seed.
    `on_action` is called with the actions of the first one.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    observations = [
        environment.reset(seed=seed)[0]
        for environment, seed in zip(environments, seeds, strict=True)
    ]
    state = model.initial_state(len(environments))
    results: dict[int, Episode] = {}
    active = list(range(len(environments)))
    while active:
        if interrupted():
            return None
        batch = torch.from_numpy(np.stack([observations[i] for i in active]))
        logits, _, next_state = model.step(batch, state[active])
        state[active] = next_state
        actions = _choose(model, logits, [generators[i] for i in active] if sampled else None)
        for i, action in zip(tuple(active), actions, strict=True):
            if i == 0:
                on_action(action)
            observations[i], _, terminated, truncated, info = environments[i].step(action)
            if terminated or truncated:
                results[i] = float(info["episode"]["r"]), int(info["episode"]["l"])
                active.remove(i)
    episodes = [results[i] for i in range(len(environments))]
    return Evaluation(
        steps=steps,
        returns=tuple(return_ for return_, _ in episodes),
        lengths=tuple(length for _, length in episodes),
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
    environment.reset(seed=seed)
    for action in actions:
        if interrupted():
            return None
        _, _, terminated, truncated, info = environment.step(action)
        if terminated or truncated:
            return float(info["episode"]["r"]), int(info["episode"]["l"])
    return math.nan, len(actions)


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
