"""Snapshots: a policy with all that is needed to play it, as plain tensors and plain Python."""

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from a3c.model import ActorCritic
from envs.ids import ResolvedId
from envs.normaliser import SharedNormaliser
from shared_optim.flat import FlatParameters
from workers.settings.config import Config, saved_config
from workers.settings.recipes import Spaces, build_model


def policy_state(
    *,
    config: Config,
    environment: ResolvedId,
    spaces: Spaces,
    parameters: torch.Tensor,
    normaliser: SharedNormaliser,
    steps: int,
) -> dict[str, Any]:
    """A copy of the shared policy at this moment; other processes may move it meanwhile."""
    return {
        "config": dataclasses.asdict(config),
        "environment": dataclasses.asdict(environment),
        "spaces": dataclasses.asdict(spaces),
        "parameters": parameters.clone(),
        "normaliser": normaliser_state(normaliser),
        "steps": int(steps),
    }


def normaliser_state(normaliser: SharedNormaliser) -> dict[str, Any]:
    """All its rows as one: what `SharedNormaliser.load` takes."""
    count, mean, m2 = normaliser.state()
    return {"count": float(count), "mean": torch.tensor(mean), "m2": torch.tensor(m2)}


def saved_spaces(state: dict[str, Any]) -> Spaces:
    """What the policy of a snapshot observes and does."""
    return Spaces(**{**state["spaces"], "choices": tuple(state["spaces"].get("choices", ()))})


def restore_policy(state: dict[str, Any]) -> tuple[ActorCritic, Config, ResolvedId]:
    """The network of a snapshot, ready to play, with its configuration and environment."""
    config = Config(**saved_config(state))
    spaces = saved_spaces(state)
    model = build_model(config, spaces)
    FlatParameters(model).vector.copy_(state["parameters"])
    if spaces.normalised:
        saved = state["normaliser"]
        normaliser = SharedNormaliser(
            np.zeros((1, SharedNormaliser.row_size(spaces.num_statistics)))
        )
        normaliser.load(saved["count"], saved["mean"].numpy(), saved["m2"].numpy())
        set_scaling(model, normaliser)
    return model, config, ResolvedId(**state["environment"])


def set_scaling(model: ActorCritic, normaliser: SharedNormaliser) -> None:
    """Puts the statistics of all workers into the network's first layer."""
    _, mean, std = normaliser.merged()
    _fill(model.observation_mean, mean)
    _fill(model.observation_inverse_std, 1 / std)


def _fill(buffer: torch.Tensor, values: NDArray[np.float64]) -> None:
    buffer.copy_(torch.from_numpy(values))
