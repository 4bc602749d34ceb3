"""What works for a family of environments; explicit flags lie above it. `results/` has what was measured with it."""

import math
from collections.abc import Mapping
from typing import Any

from envs.ids import ResolvedId
from workers.process import cores
from workers.settings.config import Config

# What an algorithm is here, whatever the preset.
RECIPES: dict[str, dict[str, Any]] = {
    "a3c": {"exchange": "hogwild"},
    "a2c": {"exchange": "barrier"},
    "ppo": {"exchange": "barrier", "normalize_advantages": True},
    # Longer or summed gradients would make the first updates, which know no trust region, that much longer.
    "acktr": {
        "exchange": "barrier",
        "optimizer": "kfac",
        "lr": 0.25,
        "max_grad_norm": 0.5,
        "loss_reduction": "mean",
    },
}

# "lr" is that of one environment in a batch, see `_actor_critic`.
ATARI: dict[str, Any] = {
    "lr": 2.5e-4,
    "gae_lambda": 0.95,
    "entropy_coef": 0.02,
    "entropy_scale": "advantage",
}
ATARI_FRAME: dict[str, Any] = {
    **ATARI,
    "recurrent": "lstm",
    "hidden_size": 256,
    "activation": "relu",
}
ATARI_STACK: dict[str, Any] = {**ATARI, "hidden_size": 512, "lr": 1e-4}
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
# Whose actions pay late: few updates, from long segments, and much noise, which normalised advantages keep up.
PATIENT: dict[str, Any] = {"normalize_advantages": True, "initial_log_std": 0.0}
# Who falls early has run fast: with a discount of 0.99 that is worth more than a slower walk that goes on. Who can stand still
# does so for ever, unless there is still much noise by then.
BIPED: dict[str, Any] = {
    **PATIENT,
    "gamma": 0.995,
    "gae_lambda": 0.97,
    "num_steps": 100,
    "lr": 1.5e-3,
}
BODIES: dict[str, dict[str, Any]] = {
    "Hopper": BIPED,
    "Walker2d": BIPED,
    "Ant": {"gamma": 0.995},
    "Humanoid": {"gamma": 0.995},
    # What a stroke is worth shows over the whole glide, and no critic knows it: half an episode's own rewards do.
    "Swimmer": {**PATIENT, "gamma": 0.9999, "gae_lambda": 1.0, "num_steps": 500, "lr": 2.5e-3},
    "Reacher": {"gamma": 0.9},  # over in fifty steps
    "InvertedDoublePendulum": {"entropy_coef": 0.001},  # see `BALANCE`
}
# At a barrier more of an episode's first falls must be in a batch; lock-free the same settings gained nothing.
A2C_BODIES: dict[str, dict[str, Any]] = {
    "InvertedDoublePendulum": {"num_steps": 50, "gae_lambda": 0.97, "lr": 3.75e-4}
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
A2C_ENVIRONMENTS = 16  # of games or bodies, of all workers together, as in pytorch-a2c-ppo-acktr
MANY_ENVIRONMENTS = 8  # from here on a shorter segment is a batch that is large enough, and more updates are worth more


# PPO as its paper has it for Atari; for bodies larger minibatches, see results/. Sizes are of all workers' batch, see `_ppo`.
PPO: dict[str, Any] = {"gae_lambda": 0.95, "use_linear_lr_decay": True}
PPO_ATARI: dict[str, Any] = {
    **PPO,
    "lr": 2.5e-4,
    "clip_param": 0.1,
    "ppo_epoch": 4,
    "num_mini_batch": 4,
}
PPO_FRAME: dict[str, Any] = {"recurrent": "lstm", "hidden_size": 256}
PPO_STACK: dict[str, Any] = {"hidden_size": 512}
# So small a network moves little by a step: 0.002 nats a minibatch on Breakout with 2.5e-4, and Pong was learned with this.
PPO_STACK42: dict[str, Any] = {**PPO_STACK, "lr": 5e-4}
PPO_VECTOR: dict[str, Any] = {
    **PPO,
    "lr": 1e-3,
    "activation": "tanh",
    "hidden_size": 64,
    "ppo_epoch": 10,
    "num_mini_batch": 4,
}
PPO_PHYSICS: dict[str, Any] = {
    **PPO_VECTOR,
    "lr": 6e-4,
    "num_mini_batch": 8,
    "entropy_coef": 0.0,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
    "scale_rewards": True,
}
# ACKTR as its paper has it for games, but for what the curvature costs: see DESIGN.md.
ACKTR: dict[str, Any] = {"use_linear_lr_decay": True, "num_steps": 20}
# Its authors' program halves the squared value error, and the likelihood that it samples for the curvature is a square that is
# not halved: in the trust region, which both share, the critic then counts a sixteenth, and the policy moves.
ACKTR_ATARI: dict[str, Any] = {
    **ACKTR,
    "fisher_steps": 64,
    "value_loss_coef": 0.25,
    "value_fisher_coef": 4.0,
}
ACKTR_ENVIRONMENTS = {"physics": 16}  # of all workers together; elsewhere 32
ACKTR_FRAME: dict[str, Any] = {**ACKTR_ATARI, "recurrent": "lstm", "hidden_size": 256}
# With the paper's 0.25, 0.001 and 1 Breakout takes off later; results/ has the comparison.
ACKTR_STACK: dict[str, Any] = {
    **ACKTR_ATARI,
    "hidden_size": 512,
    "lr": 0.5,
    "kl_clip": 0.03,
    "gae_lambda": 0.95,
}
ACKTR_VECTOR: dict[str, Any] = {
    **ACKTR,
    "activation": "tanh",
    "hidden_size": 64,
    "gae_lambda": 0.97,
    "scale_rewards": True,
}
ACKTR_PHYSICS: dict[str, Any] = {
    **ACKTR_VECTOR,
    "entropy_coef": 0.0,
    "normalize_advantages": True,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
    "kl_clip": 0.002,
    "value_kl_clip": 0.3,
}
# Where standing is all, only the few steps that recover from a bad start are still worth learning from. The advantages of a batch
# without any are noise; normalised, it would be as large, and unlearn them. And without a bonus the deviation falls to 0.01, with
# which nobody gets where there is something to recover from; ACKTR's does not.
BALANCE: dict[str, Any] = {"normalize_advantages": False}
# See `BIPED`; what their longer segments lose in updates, longer steps give back.
ACKTR_BIPED: dict[str, Any] = {
    "gamma": 0.995,
    "initial_log_std": 0.0,
    "num_steps": 100,
    "kl_clip": 0.02,
}
ACKTR_BODIES: dict[str, dict[str, Any]] = {
    "Hopper": ACKTR_BIPED,
    "Walker2d": ACKTR_BIPED,
    "Reacher": {"gamma": 0.95},
    "InvertedDoublePendulum": BALANCE,
}
# As OpenAI's baselines had ACKTR for bodies in 2017, see DESIGN.md for what is left out.
ACKTR_AUTHORS: dict[str, Any] = {
    **{"activation": "tanh", "hidden_size": 64, "initial_log_std": 0.0},
    **{
        "gae_lambda": 0.97,
        "value_gae_lambda": 1.0,
        "normalize_advantages": True,
        "entropy_coef": 0.0,
    },
    **{"lr": 0.03, "desired_kl": 0.002, "kl_clip": 0.01, "max_grad_norm": 1e9},
    **{"kfac_inverse": "eigh", "kfac_inverse_interval": 2, "kfac_cold_updates": 1},
    **{"value_updates": 25, "value_lr": 1e-3, "value_kl_clip": 0.3, "value_damping": 0.1},
    **{"value_stat_decay": 0.95, "value_cold_updates": 50},
    **{
        "value_loss_coef": 1.0,
        "value_fisher_coef": 4.0,
    },  # the square's gradient, and that of a sampled one, squared
}
ACKTR_AUTHORS_STEPS = 2500  # of all environments in a batch, at least
ACKTR_AUTHORS_EPISODE = (
    1000  # steps of the bodies that are not limited to fewer; a segment must reach its end
)
# Environments of all workers, steps of each; of a family, or a body's own.
PPO_BATCHES = {"atari": (8, 128), "physics": (16, 128), "Swimmer": (4, 512)}
PPO_BODIES: dict[str, dict[str, Any]] = {
    # With less noise than this it learns to stand, see `BIPED`.
    "Hopper": {"initial_log_std": -0.5},
    "Walker2d": {"initial_log_std": -0.5},
    "Swimmer": {"gamma": 0.9999, "gae_lambda": 1.0, "initial_log_std": 0.0},  # see `BODIES`
    "Reacher": {"gamma": 0.95},
    "InvertedDoublePendulum": {**BALANCE, "entropy_coef": 0.001},
}


def preset(
    *, name: str, algo: str, environment: ResolvedId, typed: Mapping[str, Any]
) -> dict[str, Any]:
    """The values that preset `name` gives to fields of the configuration: of the algorithm, the family, the game, the batch.

    `typed`: the fields that flags give; those of the batch decide what suits it.
    """
    recipe = RECIPES[algo]
    if name == "none":
        return recipe
    if name == "classic":
        return CLASSIC | recipe
    if name == "authors":
        B = typed.get("envs_per_process", Config.envs_per_process)
        per_worker = ACKTR_AUTHORS_STEPS / _num_processes(typed) / B
        alone = B == 1 and typed.get("recurrent", "none") == "none"
        whole = alone and 2 * per_worker >= ACKTR_AUTHORS_EPISODE
        return (
            recipe | ACKTR_AUTHORS | {"num_steps": math.ceil(per_worker), "whole_episodes": whole}
        )
    of = {"ppo": _ppo, "acktr": _acktr}.get(algo, _actor_critic)
    return recipe | of(environment, {**recipe, **typed})


def _actor_critic(environment: ResolvedId, typed: Mapping[str, Any]) -> dict[str, Any]:
    by_observation = {"frame42": ATARI_FRAME, "stack42": ATARI_STACK, "stack84": ATARI_STACK}
    if environment.family == "physics":
        values = PHYSICS | BODIES.get(_body(environment), {})
    else:
        values = by_observation.get(environment.observation, VECTOR)
    if typed["exchange"] == "barrier" and environment.family in ("atari", "physics"):
        values = values | {
            "envs_per_process": max(1, round(A2C_ENVIRONMENTS / _num_processes(typed)))
        }
        values |= A2C_BODIES.get(_body(environment), {})
    # The noise of a batch's mean gradient falls with the root of its environments, so the step size may grow with it.
    num_environments = _environments_per_process(typed, values)
    in_batch = num_environments * (_num_processes(typed) if typed["exchange"] == "barrier" else 1)
    values = values | {"lr": float(f"{values['lr'] * math.sqrt(in_batch):.2g}")}
    if environment.family == "atari":
        values |= {"num_steps": 10} if in_batch >= MANY_ENVIRONMENTS else {}
        values |= PONG if "Pong" in environment.id else {}
    return values


def _ppo(environment: ResolvedId, typed: Mapping[str, Any]) -> dict[str, Any]:
    if environment.family == "atari":
        by_observation = {"frame42": PPO_FRAME, "stack42": PPO_STACK42, "stack84": PPO_STACK}
        values = PPO_ATARI | by_observation.get(environment.observation, {})
    else:
        values = PPO_PHYSICS if environment.family == "physics" else PPO_VECTOR
    num_environments, num_steps = PPO_BATCHES.get(_body(environment)) or PPO_BATCHES.get(
        environment.family, (8, 32)
    )
    workers = _num_processes(typed) if typed["exchange"] == "barrier" else 1
    # Who types long segments wants them of few environments, and the other way round.
    per_worker = num_environments * num_steps / workers
    most = max(1, num_environments // workers)
    B = typed.get("envs_per_process") or max(
        1, min(most, int(per_worker / typed.get("num_steps", num_steps)))
    )
    values = values | {"envs_per_process": B, "num_steps": max(1, int(per_worker / B))}
    recurrent = typed.get("recurrent", values.get("recurrent", "none")) != "none"
    pieces = B * (
        1
        if recurrent
        else min(
            typed.get("distributed_step_size") or (typed.get("num_steps", values["num_steps"]),)
        )
    )
    values |= {"num_mini_batch": min(values["num_mini_batch"], pieces)}
    return values | (
        PPO_BODIES.get(_body(environment), {}) if environment.family == "physics" else {}
    )


def _acktr(environment: ResolvedId, typed: Mapping[str, Any]) -> dict[str, Any]:
    by_observation = {
        "frame42": ACKTR_FRAME,
        "stack42": ACKTR_STACK,
        "stack84": ACKTR_STACK | {"network": "narrow"},
    }
    if environment.family == "physics":
        values = ACKTR_PHYSICS | ACKTR_BODIES.get(_body(environment), {})
    else:
        values = by_observation.get(environment.observation, ACKTR_VECTOR)
    num_environments = ACKTR_ENVIRONMENTS.get(environment.family, 32)
    return values | {"envs_per_process": max(1, round(num_environments / _num_processes(typed)))}


def _environments_per_process(typed: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    number: int = typed.get("envs_per_process") or values.get(
        "envs_per_process", Config.envs_per_process
    )
    return number


def _num_processes(typed: Mapping[str, Any]) -> int:
    return typed.get("num_processes", Config.num_processes) or cores()


def _body(environment: ResolvedId) -> str:
    return environment.id.split("-")[0]
