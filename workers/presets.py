"""What works for a family of environments; explicit flags lie above it. `results/` has what was measured with it."""

import math
from typing import Any

ATARI_FRAME: dict[str, Any] = {
    "recurrent": "lstm",
    "hidden_size": 256,
    "activation": "relu",
    "gae_lambda": 0.95,
}
ATARI_STACK: dict[str, Any] = {"hidden_size": 512, "gae_lambda": 0.95}
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


def preset(*, name: str, observation: str, envs_per_process: int) -> dict[str, Any]:
    """The values that preset `name` gives to fields of the configuration."""
    if name == "none":
        return {}
    if name == "classic":
        return CLASSIC
    values = {"frame42": ATARI_FRAME, "stack84": ATARI_STACK}.get(observation, VECTOR)
    # The noise of a segment's mean gradient falls with the root of its environments, so the step size may grow with it.
    base = 5e-4 if values is VECTOR else 2.5e-4
    return {**values, "lr": float(f"{base * math.sqrt(envs_per_process):.2g}")}
