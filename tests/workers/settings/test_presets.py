"""What the presets are: some rows written out, and what they do with typed flags."""

import pytest

from envs.ids import resolve
from workers.settings.errors import UsageError
from workers.settings.flags import parse
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


def test_explicit_flags_lie_above_the_preset():
    line = parse(["--env-name", "PongDeterministic-v4"])
    assert line.config.recurrent == "lstm"
    assert line.origins["recurrent"] == "preset"
    line = parse(["--env-name", "PongDeterministic-v4", "--recurrent", "none", "--lr", "3e-3"])
    assert (line.config.recurrent, line.config.lr, line.origins["lr"]) == ("none", 3e-3, "flag")


def test_the_learning_rate_of_the_preset_grows_with_the_batch():
    one = parse(["--env-name", "PongDeterministic-v4"]).config.lr
    four = parse(["--env-name", "PongDeterministic-v4", "--envs-per-process", "4"]).config.lr
    assert four == pytest.approx(2 * one)


def test_a_game_and_a_large_batch_have_settings_of_their_own():
    pong, breakout = (
        parse(["--env-name", name, "--envs-per-process", "16"]).config
        for name in ("Pong-v0", "Breakout-v0")
    )
    assert (pong.gamma, breakout.gamma) == (0.98, 0.99)
    assert (pong.num_steps, parse(["--env-name", "Pong-v0"]).config.num_steps) == (10, 20)
    assert parse(["--env-name", "CartPole-v1", "--envs-per-process", "16"]).config.num_steps == 20


def test_physics_come_in_large_batches():
    cheetah = parse(["--env-name", "HalfCheetah-v4"]).config
    assert (cheetah.envs_per_process, cheetah.scale_rewards) == (16, True)
    assert (cheetah.lr, cheetah.optimizer) == (3e-3, "rmsprop_tf")
    four = parse(["--env-name", "HalfCheetah-v4", "--envs-per-process", "4"]).config
    assert (four.envs_per_process, four.lr) == (4, pytest.approx(cheetah.lr / 2, rel=0.05))
    assert parse(["--env-name", "CartPole-v1"]).config.envs_per_process == 1


@pytest.mark.parametrize(
    ("algo", "env_name", "gamma"),
    [
        ("a3c", "HalfCheetah-v4", 0.99),
        ("a3c", "Walker2d-v5", 0.995),
        ("a3c", "Reacher-v2", 0.9),
        ("a2c", "Swimmer-v4", 0.9999),
        ("ppo", "Reacher-v4", 0.95),
        ("acktr", "Hopper-v4", 0.995),
    ],
)
def test_bodies_have_their_discounts(algo, env_name, gamma):
    assert parse(["--env-name", env_name, "--algo", algo]).config.gamma == gamma
    assert parse(["--env-name", env_name, "--algo", algo, "--gamma", "0.8"]).config.gamma == 0.8


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "PongNoFrameskip-v4 --algo ppo --obs-mode stack42",
            {"lr": 5e-4, "hidden_size": 512, "network": "auto"},
        ),
        (
            "PongNoFrameskip-v4 --algo acktr --obs-mode stack42",
            {"kl_clip": 0.03, "hidden_size": 512, "network": "auto"},
        ),
        (
            "PongNoFrameskip-v4 --algo acktr",
            {"kl_clip": 0.03, "hidden_size": 512, "network": "narrow"},
        ),
        (
            "InvertedDoublePendulum-v4 --algo a2c --num-processes 2",
            {"num_steps": 50, "gae_lambda": 0.97, "lr": 1.5e-3},
        ),
        (
            "InvertedDoublePendulum-v4 --algo a3c --num-processes 2",
            {"num_steps": 20, "gae_lambda": 0.95, "lr": 3e-3},
        ),
    ],
)
def test_presets_of_smaller_stacks_and_of_balance_at_a_barrier(words, expected):
    config = parse(["--env-name", *words.split()]).config
    assert {name: getattr(config, name) for name in expected} == expected


def test_classic_is_pytorch_a3cs_setting():
    config = parse(["--preset", "classic"]).config
    assert (config.lr, config.gae_lambda) == (1e-4, 1.0)
    assert (config.max_grad_norm, config.activation) == (50.0, "elu")
    assert (config.loss_reduction, config.num_steps, config.entropy_coef) == ("sum", 20, 0.01)


def test_classic_settings_leave_acktr_its_gradients_scale():
    config = parse(["--env-name", "Pong-v0", "--algo", "acktr", "--preset", "classic"]).config
    assert (config.loss_reduction, config.max_grad_norm) == ("mean", 0.5)


@pytest.mark.parametrize("exchange", ["hogwild", "barrier"])
@pytest.mark.parametrize("name", ["Pong-v0", "PongNoFrameskip-v4", "HalfCheetah-v4", "CartPole-v1"])
@pytest.mark.parametrize(
    "batch",
    [
        (),
        ("--num-processes", "100"),
        ("--num-steps", "5", "--envs-per-process", "1"),
        ("--recurrent-policy",),
        ("--recurrent", "none"),
        ("--distributed-step-size", "2", "20"),
    ],
)
def test_presets_of_ppo_fit_whatever_batch_is_typed(name, exchange, batch):
    config = parse(["--env-name", name, "--algo", "ppo", "--exchange", exchange, *batch]).config
    steps = min(config.distributed_step_size or (config.num_steps,))
    sequences = config.envs_per_process
    assert config.num_mini_batch <= sequences * (steps if config.recurrent == "none" else 1)


def test_the_batch_of_ppo_is_that_of_all_workers_together():
    for words in (
        ("--num-processes", "2"),
        ("--num-processes", "1", "--num-steps", "2048"),
        ("--num-processes", "16"),
    ):
        config = parse(["--env-name", "HalfCheetah-v4", "--algo", "ppo", *words]).config
        batch = config.num_processes * config.envs_per_process * config.num_steps
        assert (batch, config.num_mini_batch, config.ppo_epoch, config.lr) == (2048, 8, 10, 6e-4)


AUTHORS_COMMAND = ["--env-name", "HalfCheetah-v4", "--algo", "acktr", "--preset", "authors"]


def test_the_authors_batches_are_of_whole_episodes_where_a_worker_has_one_environment():
    two = [*AUTHORS_COMMAND, "--num-processes", "2"]
    config = parse(two).config
    assert (config.num_steps, config.whole_episodes, config.value_gae_lambda) == (1250, True, 1.0)
    config = parse([*two, "--envs-per-process", "5"]).config
    assert (config.num_steps, config.whole_episodes) == (250, False)
    assert not parse([*two, "--recurrent", "gru"]).config.whole_episodes
    # Segments of eight workers would not reach an episode's end.
    assert not parse([*AUTHORS_COMMAND, "--num-processes", "8"]).config.whole_episodes


def test_the_authors_preset_can_be_had_with_one_step_of_both_or_one_trust_region():
    joint = parse([*AUTHORS_COMMAND, "--value-updates", "0"]).config
    assert (joint.value_updates, joint.value_kl_clip) == (0, 0.3)
    one_region = "--value-updates 0 --value-kl-clip none --desired-kl none"
    config = parse([*AUTHORS_COMMAND, *one_region.split()]).config
    assert (config.value_kl_clip, config.desired_kl) == (None, None)
    with pytest.raises(UsageError, match="'never' is not a number or none"):
        parse([*AUTHORS_COMMAND, "--desired-kl", "never"])
    with pytest.raises(UsageError, match="'none' is not a number"):
        parse([*AUTHORS_COMMAND, "--lr", "none"])
