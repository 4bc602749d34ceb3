"""Snapshots: a policy and everything needed to play it, as plain tensors and plain Python."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from a3c.networks.actor_critic import ActorCritic
from envs.ids import ResolvedId
from envs.normaliser import SharedNormaliser
from shared_optim.flat import FlatParameters
from workers.settings.config import Config
from workers.settings.models import Spaces, build_model
from workers.settings.saved import saved_config


def policy_state(
    *,
    config: Config,
    environment: ResolvedId,
    spaces: Spaces,
    parameters: torch.Tensor,
    normaliser: SharedNormaliser,
    steps: int,
) -> dict[str, Any]:
    """Copy the shared policy as it is now; other processes may change it while it is copied."""
    return {
        "config": dataclasses.asdict(config),
        "environment": dataclasses.asdict(environment),
        "spaces": dataclasses.asdict(spaces),
        "parameters": parameters.clone(),
        "normaliser": normaliser_state(normaliser),
        "steps": int(steps),
    }


def normaliser_state(normaliser: SharedNormaliser) -> dict[str, Any]:
    """Return the merged rows, as `SharedNormaliser.load` takes them."""
    count, mean, m2 = normaliser.state()
    return {"count": float(count), "mean": torch.tensor(mean), "m2": torch.tensor(m2)}


def saved_spaces(state: dict[str, Any]) -> Spaces:
    """Return the observations and actions of a snapshot's policy."""
    return Spaces(**{**state["spaces"], "choices": tuple(state["spaces"].get("choices", ()))})


def restore_policy(state: dict[str, Any]) -> tuple[ActorCritic, Config, ResolvedId]:
    """Return a snapshot's network, ready to play, its configuration and its environment."""
    config = Config(**saved_config(state))
    spaces = saved_spaces(state)
    model = build_model(config, spaces)
    FlatParameters(model).vector.copy_(state["parameters"])
    if spaces.normalised:
        saved = state["normaliser"]
        row_size = SharedNormaliser.row_size(spaces.num_statistics)
        normaliser = SharedNormaliser(np.zeros((1, row_size)))
        normaliser.load(saved["count"], saved["mean"].numpy(), saved["m2"].numpy())
        _, mean, std = normaliser.merged()
        model.set_scaling(torch.from_numpy(mean), torch.from_numpy(std))
    return model, config, ResolvedId(**state["environment"])


def saved_policy_path(save_dir: str, env_name: str, *, algo: str | None = None) -> Path:
    """Return <save_dir>/<algo>/<env>.pt; what a file's name cannot contain becomes a dash."""
    folder = Path(save_dir).expanduser() / _file_name(algo or "")
    return folder / f"{_file_name(env_name)}.pt"


def _file_name(name: str) -> str:
    return name.replace("/", "-").replace(":", "-")
