"""Playing whole episodes with a fixed policy: what the test worker and enjoy.py do."""

from collections.abc import Callable
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from a3c.model import ActorCritic

Frame = NDArray[np.uint8]


@dataclass
class Episodes:
    """Raw returns and lengths (agent steps) of finished episodes, in the order of the environments."""

    returns: list[float] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)


@torch.inference_mode()
def play_episodes(
    model: ActorCritic,
    environments: list[gym.Env],
    *,
    seeds: list[int],
    sampled: bool,
    on_frame: Callable[[Frame], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Episodes | None:
    """One episode in each environment, side by side; each weighs the same, however long it lasts.

    `on_frame` gets the pictures of the first environment (rendered as RGB [H, W, 3]); None if `interrupted`.
    """
    generator = torch.Generator().manual_seed(seeds[0])
    observations = [
        environment.reset(seed=seed)[0]
        for environment, seed in zip(environments, seeds, strict=True)
    ]
    state = model.initial_state(len(environments))
    results: dict[int, tuple[float, int]] = {}
    active = list(range(len(environments)))
    while active:
        if interrupted():
            return None
        if on_frame is not None and 0 in active:
            on_frame(_picture(environments[0]))
        batch = torch.from_numpy(np.stack([observations[i] for i in active]))
        policy, _, next_state = model.step(batch, state[active])
        state[active] = next_state
        noise = model.head.noise(tuple(policy.shape[:-1]), generator) if sampled else None
        actions = model.head.mode(policy) if noise is None else model.head.sample(policy, noise)
        for i, action in zip(
            tuple(active), model.head.to_environment(actions).numpy(), strict=True
        ):
            observations[i], _, terminated, truncated, info = environments[i].step(action)
            if terminated or truncated:
                results[i] = info["episode"]["r"], info["episode"]["l"]
                active.remove(i)
    pairs = [results[i] for i in sorted(results)]
    return Episodes([float(r) for r, _ in pairs], [int(n) for _, n in pairs])


def _picture(environment: gym.Env) -> Frame:
    frame = environment.render()
    assert isinstance(frame, np.ndarray)
    return frame
