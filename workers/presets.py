"""What works for a family of environments; explicit flags lie above it. `results/` has what was measured with it."""

import math
from typing import Any

from envs.ids import ResolvedId

ATARI: dict[str, Any] = {"gae_lambda": 0.95, "entropy_coef": 0.02, "entropy_scale": "advantage"}
ATARI_FRAME: dict[str, Any] = {
    **ATARI,
    "recurrent": "lstm",
    "hidden_size": 256,
    "activation": "relu",
}
ATARI_STACK: dict[str, Any] = {**ATARI, "hidden_size": 512}
# Rewards are not clipped here: returns in the hundreds would fill the gradient's whole length with the value loss.
VECTOR: dict[str, Any] = {
    "activation": "tanh",
    "hidden_size": 64,
    "gae_lambda": 0.95,
    "value_loss_coef": 0.01,
    "max_grad_norm": 5.0,
}
CLASSIC: dict[str, Any] = {
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
# A rally is decided within some fifty steps; a longer horizon adds noise only. results/ has the comparison.
PONG: dict[str, Any] = {"gamma": 0.98}
MANY_ENVIRONMENTS = 8  # from here on a shorter segment is a batch that is large enough, and more updates are worth more


def preset(*, name: str, environment: ResolvedId, envs_per_process: int) -> dict[str, Any]:
    """The values that preset `name` gives to fields of the configuration: of the family, of the game, of the batch."""
    if name == "none":
        return {}
    if name == "classic":
        return CLASSIC
    values = {"frame42": ATARI_FRAME, "stack84": ATARI_STACK}.get(environment.observation, VECTOR)
    # The noise of a segment's mean gradient falls with the root of its environments, so the step size may grow with it.
    base = 5e-4 if values is VECTOR else 2.5e-4
    values = values | {"lr": float(f"{base * math.sqrt(envs_per_process):.2g}")}
    if environment.family == "atari":
        values |= {"num_steps": 10} if envs_per_process >= MANY_ENVIRONMENTS else {}
        values |= PONG if "Pong" in environment.id else {}
    return values
