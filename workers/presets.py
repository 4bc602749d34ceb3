"""What works for a family of environments; explicit flags lie above it. `results/` has what was measured with it."""

import math
from typing import Any

from envs.ids import ResolvedId

# "lr" is that of one environment a worker, see `preset`.
ATARI: dict[str, Any] = {"lr": 2.5e-4, "gae_lambda": 0.95, "entropy_coef": 0.02, "entropy_scale": "advantage"}
ATARI_FRAME: dict[str, Any] = {
    **ATARI,
    "recurrent": "lstm",
    "hidden_size": 256,
    "activation": "relu",
}
ATARI_STACK: dict[str, Any] = {**ATARI, "hidden_size": 512}
# Rewards are not clipped here: without their scale, returns in the hundreds would fill the gradient's whole length.
VECTOR: dict[str, Any] = {
    "lr": 5e-4,
    "activation": "tanh",
    "hidden_size": 64,
    "gae_lambda": 0.95,
    "scale_rewards": True,
}
# Bodies that move: small networks beside fast engines want many environments in one batch. Speed is won by precision, so the
# deviation starts low and nothing holds it up; means that leave the bounds must find back. results/ has the comparisons.
PHYSICS: dict[str, Any] = {
    **VECTOR,
    "lr": 7.5e-4,
    "envs_per_process": 16,
    "entropy_coef": 0.0,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
    "optimizer": "rmsprop_tf",
    "use_linear_lr_decay": True,
}
# Who falls early has run fast: with a discount of 0.99 that is worth more than a slower walk that goes on, except to Hopper,
# which rather stands still then. A reach is over in fifty steps; Swimmer glides for hundreds.
BODIES: dict[str, dict[str, Any]] = {
    "Walker2d": {"gamma": 0.995},
    "Ant": {"gamma": 0.995},
    "Humanoid": {"gamma": 0.995},
    "Hopper": {"initial_log_std": -0.5},
    "Reacher": {"gamma": 0.9},
    "Swimmer": {"gamma": 0.9999},
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


def preset(*, name: str, environment: ResolvedId, envs_per_process: int | None) -> dict[str, Any]:
    """The values that preset `name` gives to fields of the configuration: of the family, of the game, of the batch.

    `envs_per_process`: what was typed, or None.
    """
    if name == "none":
        return {}
    if name == "classic":
        return CLASSIC
    by_observation = {"frame42": ATARI_FRAME, "stack84": ATARI_STACK}
    values = PHYSICS if environment.family == "physics" else by_observation.get(environment.observation, VECTOR)
    # The noise of a segment's mean gradient falls with the root of its environments, so the step size may grow with it.
    num_environments = envs_per_process or values.get("envs_per_process", 1)
    values = values | {"lr": float(f"{values['lr'] * math.sqrt(num_environments):.2g}")}
    if environment.family == "atari":
        values |= {"num_steps": 10} if num_environments >= MANY_ENVIRONMENTS else {}
        values |= PONG if "Pong" in environment.id else {}
    if environment.family == "physics":
        values |= BODIES.get(environment.id.split("-")[0], {})
    return values
