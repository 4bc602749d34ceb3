"""What the presets are: some rows written out."""

import pytest

from envs.ids import resolve
from workers.settings.presets.choice import preset

# Values that many of the rows below have, as they were when results/ was measured.
GAME = {"gae_lambda": 0.95, "entropy_coef": 0.02, "entropy_scale": "advantage"}
VECTOR = {"activation": "tanh", "hidden_size": 64, "gae_lambda": 0.95, "scale_rewards": True}
BODY = {
    "activation": "tanh",
    "hidden_size": 64,
    "gae_lambda": 0.95,
    "scale_rewards": True,
    "entropy_coef": 0.0,
    "initial_log_std": -1.0,
    "bounds_loss_coef": 0.1,
}
RMSPROP = {"optimizer": "rmsprop_tf", "use_linear_lr_decay": True}
PPO = {"exchange": "barrier", "normalize_advantages": True, "use_linear_lr_decay": True}
KFAC = {
    "exchange": "barrier",
    "optimizer": "kfac",
    "lr": 0.25,
    "max_grad_norm": 0.5,
    "loss_reduction": "mean",
}
ACKTR = {**KFAC, "use_linear_lr_decay": True, "num_steps": 20}
ACKTR_GAME = {**ACKTR, "fisher_steps": 64, "value_loss_coef": 0.25, "value_fisher_coef": 4.0}
ACKTR_BODY = {
    **ACKTR,
    **BODY,
    "gae_lambda": 0.97,
    "normalize_advantages": True,
    "kl_clip": 0.002,
    "value_kl_clip": 0.3,
}
CLASSIC = {
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
AUTHORS = {
    **KFAC,
    "activation": "tanh",
    "hidden_size": 64,
    "initial_log_std": 0.0,
    "gae_lambda": 0.97,
    "value_gae_lambda": 1.0,
    "normalize_advantages": True,
    "entropy_coef": 0.0,
    "lr": 0.03,
    "desired_kl": 0.002,
    "kl_clip": 0.01,
    "max_grad_norm": 1e9,
    "kfac_inverse": "eigh",
    "kfac_inverse_interval": 2,
    "kfac_cold_updates": 1,
    "value_updates": 25,
    "value_lr": 1e-3,
    "value_kl_clip": 0.3,
    "value_damping": 0.1,
    "value_stat_decay": 0.95,
    "value_cold_updates": 50,
    "value_loss_coef": 1.0,
    "value_fisher_coef": 4.0,
    "num_steps": 1250,
    "whole_episodes": True,
}


# preset, algorithm, environment, workers -> everything that the preset sets
GOLDEN = [
    (
        ("auto", "a3c", "Pong-v0", 4),
        {
            **GAME,
            "exchange": "hogwild",
            "recurrent": "lstm",
            "hidden_size": 256,
            "activation": "relu",
            "lr": 2.5e-4,
            "gamma": 0.98,
        },
    ),
    (("auto", "a3c", "CartPole-v1", 4), {**VECTOR, "exchange": "hogwild", "lr": 5e-4}),
    (
        ("auto", "a3c", "Pong-ram-v0", 4),
        {**VECTOR, "exchange": "hogwild", "lr": 5e-4, "gamma": 0.98},
    ),
    (
        ("auto", "a3c", "HalfCheetah-v4", 4),
        {**BODY, **RMSPROP, "exchange": "hogwild", "envs_per_process": 16, "lr": 3e-3},
    ),
    (
        ("auto", "a3c", "Hopper-v4", 4),
        {
            **BODY,
            **RMSPROP,
            "exchange": "hogwild",
            "envs_per_process": 16,
            "num_steps": 100,
            "lr": 6e-3,
            "gamma": 0.995,
            "gae_lambda": 0.97,
            "normalize_advantages": True,
            "initial_log_std": 0.0,
        },
    ),
    (
        ("auto", "a2c", "BreakoutNoFrameskip-v4", 4),
        {
            **GAME,
            "exchange": "barrier",
            "hidden_size": 512,
            "envs_per_process": 4,
            "num_steps": 10,
            "lr": 4e-4,
        },
    ),
    (
        ("auto", "a2c", "Swimmer-v4", 2),
        {
            **BODY,
            **RMSPROP,
            "exchange": "barrier",
            "envs_per_process": 8,
            "num_steps": 500,
            "lr": 1e-2,
            "gamma": 0.9999,
            "gae_lambda": 1.0,
            "normalize_advantages": True,
            "initial_log_std": 0.0,
        },
    ),
    (
        ("auto", "a2c", "InvertedDoublePendulum-v4", 2),
        {
            **BODY,
            **RMSPROP,
            "exchange": "barrier",
            "envs_per_process": 8,
            "num_steps": 50,
            "lr": 1.5e-3,
            "gae_lambda": 0.97,
            "entropy_coef": 0.001,
        },
    ),
    (
        ("auto", "ppo", "PongDeterministic-v4", 4),
        {
            **PPO,
            "recurrent": "lstm",
            "hidden_size": 256,
            "gae_lambda": 0.95,
            "lr": 2.5e-4,
            "clip_param": 0.1,
            "ppo_epoch": 4,
            "num_mini_batch": 2,
            "envs_per_process": 2,
            "num_steps": 128,
        },
    ),
    (
        ("auto", "ppo", "PongNoFrameskip-v4", 4),
        {
            **PPO,
            "hidden_size": 512,
            "gae_lambda": 0.95,
            "lr": 2.5e-4,
            "clip_param": 0.1,
            "ppo_epoch": 4,
            "num_mini_batch": 4,
            "envs_per_process": 2,
            "num_steps": 128,
        },
    ),
    (
        ("auto", "ppo", "CartPole-v1", 4),
        {
            **PPO,
            "activation": "tanh",
            "hidden_size": 64,
            "gae_lambda": 0.95,
            "lr": 1e-3,
            "ppo_epoch": 10,
            "num_mini_batch": 4,
            "envs_per_process": 2,
            "num_steps": 32,
        },
    ),
    (
        ("auto", "ppo", "Hopper-v4", 4),
        {
            **PPO,
            **BODY,
            "initial_log_std": -0.5,
            "lr": 6e-4,
            "ppo_epoch": 10,
            "num_mini_batch": 8,
            "envs_per_process": 4,
            "num_steps": 128,
        },
    ),
    (
        ("auto", "ppo", "Swimmer-v4", 2),
        {
            **PPO,
            **BODY,
            "initial_log_std": 0.0,
            "gamma": 0.9999,
            "gae_lambda": 1.0,
            "lr": 6e-4,
            "ppo_epoch": 10,
            "num_mini_batch": 8,
            "envs_per_process": 2,
            "num_steps": 512,
        },
    ),
    (
        ("auto", "acktr", "Pong-v0", 4),
        {**ACKTR_GAME, "recurrent": "lstm", "hidden_size": 256, "envs_per_process": 8},
    ),
    (
        ("auto", "acktr", "BreakoutNoFrameskip-v4", 1),
        {
            **ACKTR_GAME,
            "network": "narrow",
            "hidden_size": 512,
            "lr": 0.5,
            "kl_clip": 0.03,
            "gae_lambda": 0.95,
            "envs_per_process": 32,
        },
    ),
    (
        ("auto", "acktr", "Acrobot-v1", 4),
        {**ACKTR, **VECTOR, "gae_lambda": 0.97, "envs_per_process": 8},
    ),
    (
        ("auto", "acktr", "Hopper-v4", 2),
        {
            **ACKTR_BODY,
            "num_steps": 100,
            "gamma": 0.995,
            "initial_log_std": 0.0,
            "kl_clip": 0.02,
            "envs_per_process": 8,
        },
    ),
    (
        ("auto", "acktr", "InvertedDoublePendulum-v4", 2),
        {**ACKTR_BODY, "normalize_advantages": False, "envs_per_process": 8},
    ),
    (("authors", "acktr", "HalfCheetah-v4", 2), AUTHORS),
    (("classic", "a2c", "Pong-v0", 4), {**CLASSIC, "exchange": "barrier"}),
    (("classic", "acktr", "Pong-v0", 4), {**CLASSIC, **KFAC}),
    (("none", "a3c", "HalfCheetah-v4", 4), {"exchange": "hogwild"}),
    (("none", "ppo", "Pong-v0", 4), {"exchange": "barrier", "normalize_advantages": True}),
]


@pytest.mark.parametrize(("question", "expected"), GOLDEN, ids=lambda value: str(value)[:60])
def test_presets_are_those_that_results_were_measured_with(question, expected):
    name, algo, env_name, num_processes = question
    values = preset(
        name=name,
        algo=algo,
        environment=resolve(env_name),
        typed={"num_processes": num_processes},
    )
    assert values == expected
