"""What the presets do with typed flags and batches."""

import pytest

from workers.settings.errors import UsageError
from workers.settings.flags import parse


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


@pytest.mark.parametrize("preset", ["auto", "classic", "none"])
def test_games_are_evaluated_with_drawn_actions(preset):
    def sampled(*words, **resumed):
        return parse([*words, "--preset", preset], **resumed).config.eval_sampled

    for game in ("PongDeterministic-v4", "BreakoutNoFrameskip-v4"):
        assert sampled("--env-name", game)
        assert not sampled("--env-name", game, "--no-eval-sampled")
    assert not sampled("--env-name", "CartPole-v1")
    assert sampled("--env-name", "CartPole-v1", "--eval-sampled")
    # A run of an older version goes on as it began.
    old = vars(parse(["--env-name", "PongDeterministic-v4"]).config) | {"eval_sampled": False}
    assert not sampled(resumed=old)
