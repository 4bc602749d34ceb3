"""What works for PPO. `results/` has what was measured with it."""

from collections.abc import Mapping
from typing import Any

from envs.ids import ResolvedId
from workers.settings.presets.rows import Values, body, num_processes, row

# Games have the values of PPO's paper; bodies have larger minibatches, see results/.
PPO: Values = {"gae_lambda": 0.95, "use_linear_lr_decay": True}
GAME: Values = {**PPO, "lr": 2.5e-4, "clip_param": 0.1, "ppo_epoch": 4, "num_mini_batch": 4}
STACK: Values = {**GAME, "hidden_size": 512}
VECTOR: Values = {
    **PPO,
    "lr": 1e-3,
    "activation": "tanh",
    "hidden_size": 64,
    "ppo_epoch": 10,
    "num_mini_batch": 4,
}
BODY: Values = {
    **VECTOR,
    "lr": 6e-4,
    "num_mini_batch": 8,
    "entropy_coef": 0.0,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
    "scale_rewards": True,
}
# With less noise than this a biped learns to stand still, see A3C's.
BIPED: Values = {**BODY, "initial_log_std": -0.5}

# "num_mini_batch" falls where a segment has fewer pieces, see the function of this name.
ROWS: dict[str, Values] = {
    "frame42": {**GAME, "recurrent": "lstm", "hidden_size": 256},
    # A step moves so small a network little: with 2.5e-4, 0.002 nats a minibatch on Breakout. Pong
    # was learned with 5e-4.
    "stack42": {**STACK, "lr": 5e-4},
    "stack84": STACK,
    "ram": GAME,
    "vector": VECTOR,
    "physics": BODY,
    "Hopper": BIPED,
    "Walker2d": BIPED,
    # Its discount, lambda and noise: see A3C's.
    "Swimmer": {**BODY, "gamma": 0.9999, "gae_lambda": 1.0, "initial_log_std": 0.0},
    "Reacher": {**BODY, "gamma": 0.95},
    # The entropy bonus: see A3C's. The advantages: see ACKTR's.
    "InvertedDoublePendulum": {**BODY, "normalize_advantages": False, "entropy_coef": 0.001},
}
# Environments of all workers together, and steps of each; by body or family.
BATCHES = {"atari": (8, 128), "control": (8, 32), "physics": (16, 128), "Swimmer": (4, 512)}


def ppo(environment: ResolvedId, typed: Mapping[str, Any]) -> Values:
    """Return the values of PPO; `typed` contains the exchange."""
    values = row(ROWS, environment)
    values |= batch(environment, typed)
    values["num_mini_batch"] = num_mini_batch(values, typed)
    return values


def batch(environment: ResolvedId, typed: Mapping[str, Any]) -> Values:
    """Return the environments and steps of a worker: its part of BATCHES.

    A segment that was typed longer has fewer environments, and the other way round. Without a
    barrier each worker has a whole batch.
    """
    batches_of_body = BATCHES.get(body(environment))
    num_environments, num_steps = batches_of_body or BATCHES[environment.family]
    workers = num_processes(typed) if typed["exchange"] == "barrier" else 1
    per_worker = num_environments * num_steps / workers  # steps
    most = max(1, num_environments // workers)
    fitting = int(per_worker / typed.get("num_steps", num_steps))
    B = typed.get("envs_per_process") or max(1, min(most, fitting))
    return {"envs_per_process": B, "num_steps": max(1, int(per_worker / B))}


def num_mini_batch(values: Values, typed: Mapping[str, Any]) -> int:
    """Return the number of minibatches, at most one for each piece that a segment has.

    A piece is a step or, for a recurrent network, the sequence of an environment.
    """
    number: int = values["num_mini_batch"]
    pieces: int = values["envs_per_process"]
    if typed.get("recurrent", values.get("recurrent", "none")) == "none":
        num_steps = typed.get("num_steps", values["num_steps"])
        pieces *= min(typed.get("distributed_step_size") or (num_steps,))
    return min(number, pieces)
