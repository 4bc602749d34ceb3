"""What works for A3C and A2C. `results/` has what was measured with it."""

import math
from collections.abc import Mapping
from typing import Any

from envs.ids import ResolvedId
from workers.settings.config import Config
from workers.settings.presets.rows import Values, num_processes, row, share

GAME: Values = {
    "lr": 2.5e-4,
    "gae_lambda": 0.95,
    "entropy_coef": 0.02,
    "entropy_scale": "advantage",
}
STACK: Values = {**GAME, "hidden_size": 512, "lr": 1e-4}
# Rewards of vector environments are not clipped. Without scaling, returns in the hundreds would
# use up the gradient's whole length.
VECTOR: Values = {
    "lr": 5e-4,
    "activation": "tanh",
    "hidden_size": 64,
    "gae_lambda": 0.95,
    "scale_rewards": True,
}
# Small networks and fast engines favour many environments in a batch. Fast movement needs precise
# actions, so the standard deviation starts low and no entropy bonus holds it up. The bounds loss
# pulls back means that have left the bounds. results/ has the comparisons.
BODY: Values = {
    **VECTOR,
    "lr": 7.5e-4,
    "envs_per_process": 16,
    "entropy_coef": 0.0,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
    "optimizer": "rmsprop_tf",
    "use_linear_lr_decay": True,
}
# For bodies whose actions pay late: few updates from long segments, and much noise, which
# normalised advantages keep up.
PATIENT: Values = {**BODY, "normalize_advantages": True, "initial_log_std": 0.0}
# A biped that runs fast falls early. With a discount of 0.99 that is worth more than a slower walk
# that goes on. A biped that has learned to stand still keeps standing, unless there is still much
# noise at that time.
BIPED: Values = {
    **PATIENT,
    "lr": 1.5e-3,
    "num_steps": 100,
    "gamma": 0.995,
    "gae_lambda": 0.97,
}

# "lr" is that of one environment in a batch, see `learning_rate`.
ROWS: dict[str, Values] = {
    "frame42": {**GAME, "recurrent": "lstm", "hidden_size": 256, "activation": "relu"},
    "stack42": STACK,
    "stack84": STACK,
    "ram": VECTOR,
    "vector": VECTOR,
    "physics": BODY,
    "Hopper": BIPED,
    "Walker2d": BIPED,
    "Ant": {**BODY, "gamma": 0.995},
    "Humanoid": {**BODY, "gamma": 0.995},
    # The effect of a stroke shows over the whole glide, and no critic predicts it. The rewards of
    # half an episode show it.
    "Swimmer": {
        **PATIENT,
        "lr": 2.5e-3,
        "num_steps": 500,
        "gamma": 0.9999,
        "gae_lambda": 1.0,
    },
    "Reacher": {**BODY, "gamma": 0.9},  # an episode has 50 steps
    # Without an entropy bonus the standard deviation falls to 0.01. With so little noise no
    # episode reaches the states from which there is something to recover.
    "InvertedDoublePendulum": {**BODY, "entropy_coef": 0.001},
}
# At a barrier a batch must hold more of an episode's first falls. With --exchange hogwild the same
# settings gained nothing.
ROWS_AT_A_BARRIER: dict[str, Values] = {
    **ROWS,
    "InvertedDoublePendulum": {
        **ROWS["InvertedDoublePendulum"],
        "lr": 3.75e-4,
        "num_steps": 50,
        "gae_lambda": 0.97,
    },
}
# Games or bodies of all workers at a barrier together, as in pytorch-a2c-ppo-acktr.
ENVIRONMENTS = 16
# With this many environments or more, segments of 10 steps make a large enough batch, and more
# updates help more than a larger one.
MANY_ENVIRONMENTS = 8
# A rally of Pong is decided within some 50 steps. A longer horizon adds only noise; results/ has
# the comparison.
PONG: Values = {"gamma": 0.98}


def actor_critic(environment: ResolvedId, typed: Mapping[str, Any]) -> Values:
    """Return the values of A3C and A2C; `typed` contains the exchange."""
    at_a_barrier = typed["exchange"] == "barrier"
    values = row(ROWS_AT_A_BARRIER if at_a_barrier else ROWS, environment)
    if at_a_barrier and environment.family in ("atari", "physics"):
        values["envs_per_process"] = share(ENVIRONMENTS, typed)
    in_batch = environments_in_a_batch(values, typed)
    values["lr"] = learning_rate(values["lr"], in_batch)
    if environment.family == "atari":
        values |= {"num_steps": 10} if in_batch >= MANY_ENVIRONMENTS else {}
        values |= PONG if "Pong" in environment.id else {}
    return values


def environments_in_a_batch(values: Mapping[str, Any], typed: Mapping[str, Any]) -> int:
    """Return a worker's number of environments, or that of all workers at a barrier."""
    number: int = typed.get("envs_per_process") or values.get(
        "envs_per_process", Config.envs_per_process
    )
    return number * (num_processes(typed) if typed["exchange"] == "barrier" else 1)


def learning_rate(of_one: float, in_batch: int) -> float:
    """Return the learning rate for a batch of `in_batch` environments, to two digits.

    The noise of a mean gradient falls with the root of their number, so the rate grows with it.
    """
    return float(f"{of_one * math.sqrt(in_batch):.2g}")
