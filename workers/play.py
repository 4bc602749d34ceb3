"""Playing whole episodes with a fixed policy, for the test worker and enjoy.py."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from a3c.networks.actor_critic import ActorCritic
from workers.records.evaluation import Evaluation

Frame = NDArray[np.uint8]


@torch.inference_mode()
def play_episodes(
    model: ActorCritic,
    environments: list[gym.Env],
    *,
    seeds: list[int],
    sampled: bool,
    steps: int,
    on_frame: Callable[[Frame], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Play one episode in each environment, side by side; return None if `interrupted`.

    The policy has been trained for `steps` environment steps. `sampled`: draw the actions, instead
    of taking the most probable. `on_frame` is called with the pictures of the first environment
    [H, W, 3], RGB.
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
        logits, _, next_state = model.step(batch, state[active])
        state[active] = next_state
        actions = _choose(model, logits, generator if sampled else None)
        for i, action in zip(tuple(active), actions, strict=True):
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


def _choose(
    model: ActorCritic,
    logits: torch.Tensor,
    generator: torch.Generator | None,
) -> NDArray[np.generic]:
    """Draw actions, or take the most probable ones without a generator; for the environments."""
    if generator is None:
        actions = model.head.mode(logits)
    else:
        noise = model.head.noise(tuple(logits.shape[:-1]), generator)
        actions = model.head.sample(logits, noise)
    return model.head.to_environment(actions).numpy()


def _picture(environment: gym.Env) -> Frame:
    frame = environment.render()
    assert isinstance(frame, np.ndarray)
    return frame
