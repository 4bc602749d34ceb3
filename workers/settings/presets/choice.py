"""Which values lie between the defaults and the typed flags."""

from collections.abc import Mapping
from typing import Any

from envs.ids import ResolvedId
from workers.settings.algorithms import recipe
from workers.settings.errors import UsageError
from workers.settings.presets.rows import Values

# pytorch-a3c's settings.
CLASSIC: Values = {
    "recurrent": "lstm",
    "hidden_size": 256,
    "activation": "elu",
    "gae_lambda": 1.0,
    "value_loss_coef": 0.25,
    "max_grad_norm": 50.0,
    "loss_reduction": "sum",
    "lr": 1e-4,
    "eps": 1e-8,
}


def evaluation_values(environment: ResolvedId) -> Values:
    """Return the values for evaluations, with every preset.

    A game's policy is what A3C trains: its drawn actions. The most probable ones can be far worse,
    and play one game several times on an emulator without randomness.
    """
    return {"eval_sampled": True} if environment.family == "atari" else {}


def preset(*, name: str, algo: str, environment: ResolvedId, typed: Mapping[str, Any]) -> Values:
    """Return the values that `--preset name` gives to fields of the configuration.

    `typed`: the fields that flags give; those of the batch decide what suits it. UsageError.
    """
    chosen = recipe(algo)
    always = chosen.always()
    if name == "none":
        return always
    if name == "classic":
        return CLASSIC | always
    if name == "authors":
        if chosen.authors is None or environment.family != "physics":
            raise UsageError(
                "--preset authors is for --algo acktr and bodies such as HalfCheetah-v4; "
                "leave it out"
            )
        return always | chosen.authors(typed)
    return always | chosen.preset(environment, {**always, **typed})
