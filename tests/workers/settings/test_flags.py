import ast
import subprocess
import sys
from pathlib import Path

import pytest

from envs.ids import EnvironmentProblem
from workers.settings.flags import FIELDS, TYPES, UsageError, build_parser, parse, parse_pairs

ROOT = Path(__file__).parents[3]
OTHER_VALUES = {
    "env_name": "CartPole-v0",
    "env_kwargs": "sutton_barto_reward=True",
    "env_module": "math",
    "betas": "0.5 0.6",
    "checkpoint_interval": "7",
    "optimizer": "rmsprop",
}


def run_main(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def typed(name: str) -> list[str]:
    """A command line that gives field `name` another value than its default."""
    flag = "--" + name.replace("_", "-")
    field = FIELDS[name]
    if TYPES[name] is bool:
        return [flag.replace("--", "--no-", 1) if field.default else flag]
    if name in OTHER_VALUES:
        return [flag, *OTHER_VALUES[name].split()]
    choices = [choice for choice in field.metadata.get("choices") or () if choice != field.default]
    if choices:
        return [flag, choices[-1]]
    kind = str(TYPES[name])
    return [flag, "7" if "int" in kind else "0.25" if "float" in kind else "elsewhere"]


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("obs_mode", "algo")])
def test_every_flag_changes_its_field(name):
    base = ["--env-name", "CartPole-v1", "--preset", "none"]
    changed = parse([*base, *typed(name)])
    assert getattr(changed.config, name) != FIELDS[name].default
    assert changed.origins[name] == "flag"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--algo", "acktr", "--optimizer", "adam"], "acktr does not go with --optimizer adam"),
        (["--algo", "a2c", "--optimizer", "kfac"], "a2c does not go with --optimizer kfac"),
        (["--algo", "acktr", "--network", "impala"], "leave that out"),
        (
            ["--algo", "acktr", "--auxiliary-heads", "a:b"],
            "does not see those of --auxiliary-heads",
        ),
        (["--algo", "acktr", "--exchange", "hogwild"], "leave --exchange hogwild out"),
        (
            ["--algo", "acktr", "--value-damping", "0.1"],
            "--value-damping needs --value-kl-clip or --value-updates",
        ),
        (
            ["--algo", "acktr", "--value-kl-clip", "0.1", "--value-lr", "0.1"],
            "--value-lr needs --value-updates",
        ),
        (
            ["--preset", "authors", "--env-name", "HalfCheetah-v4"],
            "--preset authors is for --algo acktr and bodies",
        ),
        (
            ["--preset", "authors", "--algo", "acktr", "--env-name", "CartPole-v1"],
            "--preset authors is for --algo acktr and bodies",
        ),
        (
            ["--algo", "acktr", "--distributed-step-size", "5", "20"],
            "leave --distributed-step-size out",
        ),
        (["--algo", "acktr", "--whole-episodes"], "--whole-episodes needs --envs-per-process 1"),
        (
            [
                "--algo",
                "acktr",
                "--whole-episodes",
                "--envs-per-process",
                "1",
                "--recurrent",
                "gru",
            ],
            "use --no-whole-episodes",
        ),
    ],
)
def test_what_does_not_go_with_acktr_is_refused(words, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(["--env-name", "CartPole-v1", *words])


def test_the_authors_batches_are_of_whole_episodes_where_a_worker_has_one_environment():
    authors = [
        "--env-name",
        "HalfCheetah-v4",
        "--algo",
        "acktr",
        "--preset",
        "authors",
        "--num-processes",
        "2",
    ]
    config = parse(authors).config
    assert (config.num_steps, config.whole_episodes, config.value_gae_lambda) == (1250, True, 1.0)
    config = parse([*authors, "--envs-per-process", "5"]).config
    assert (config.num_steps, config.whole_episodes) == (250, False)
    for more in (
        ["--recurrent", "gru"],
        ["--num-processes", "8"],
    ):  # whose segments would not reach an episode's end
        assert not parse([*authors, *more]).config.whole_episodes


def test_the_authors_preset_can_be_had_with_one_step_of_both_or_one_trust_region():
    authors = ["--env-name", "HalfCheetah-v4", "--algo", "acktr", "--preset", "authors"]
    joint = parse([*authors, "--value-updates", "0"]).config
    assert (joint.value_updates, joint.value_kl_clip) == (0, 0.3)
    one_region = parse(
        [*authors, "--value-updates", "0", "--value-kl-clip", "none", "--desired-kl", "none"]
    ).config
    assert (one_region.value_kl_clip, one_region.desired_kl) == (None, None)
    with pytest.raises(UsageError, match="'never' is not a number or none"):
        parse([*authors, "--desired-kl", "never"])
    with pytest.raises(UsageError, match="'none' is not a number"):
        parse([*authors, "--lr", "none"])


def test_classic_settings_leave_acktr_its_gradients_scale():
    config = parse(["--env-name", "Pong-v0", "--algo", "acktr", "--preset", "classic"]).config
    assert (config.loss_reduction, config.max_grad_norm) == ("mean", 0.5)


@pytest.mark.parametrize(
    ("words", "environment", "batch"),
    [
        (
            "--env-name PongNoFrameskip-v4 --algo a2c --num-processes 4",
            "PongNoFrameskip-v4",
            (4, 4, 10, 4e-4),
        ),
        (
            "--env-name PongNoFrameskip-v4 --algo a2c --num-processes 16 --no-cuda",
            "PongNoFrameskip-v4",
            (16, 1, 10, 4e-4),
        ),
        (
            "--env-name PongNoFrameskip-v4 --algo ppo --use-gae --lr 2.5e-4 --clip-param 0.1 --value-loss-coef 0.5"
            " --num-processes 8 --num-steps 128 --num-mini-batch 4 --log-interval 1 --use-linear-lr-decay --entropy-coef 0.01"
            " --cuda-deterministic",
            "PongNoFrameskip-v4",
            (8, 1, 128, 2.5e-4),
        ),
        (
            "--env-name Reacher-v2 --algo a2c --num-env-steps 1000000 --num-processes 4",
            "Reacher-v4",
            (4, 4, 20, 3e-3),
        ),
        (
            "--env-name Reacher-v2 --algo ppo --use-gae --log-interval 1 --num-steps 2048 --num-processes 1 --lr 3e-4"
            " --entropy-coef 0 --value-loss-coef 0.5 --ppo-epoch 10 --num-mini-batch 32 --gamma 0.99 --gae-lambda 0.95"
            " --num-env-steps 1000000 --use-linear-lr-decay --use-proper-time-limits",
            "Reacher-v4",
            (1, 1, 2048, 3e-4),
        ),
        (
            "--env-name PongNoFrameskip-v4 --algo acktr --num-processes 32 --num-steps 20",
            "PongNoFrameskip-v4",
            (32, 1, 20, 0.5),
        ),
        (
            "--algo acktr --env-name Reacher-v2 --seed 0 --num-env-steps 1000 --num-processes 2",
            "Reacher-v4",
            (2, 8, 20, 0.25),
        ),
        (
            "--env-name PongNoFrameskip-v4 --algo ppo --recurrent-policy --num-processes 8 --num-steps 128 --num-mini-batch 4",
            "PongNoFrameskip-v4",
            (8, 1, 128, 2.5e-4),
        ),
    ],
)
def test_commands_of_pytorch_a2c_ppo_acktrs_users(words, environment, batch):
    line = parse(words.split())
    config = line.config
    assert line.environment.id == environment
    assert (config.num_processes, config.envs_per_process, config.num_steps, config.lr) == batch


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
def test_what_presets_know_of_smaller_stacks_and_of_balance_at_a_barrier(words, expected):
    config = parse(["--env-name", *words.split()]).config
    assert {name: getattr(config, name) for name in expected} == expected


def test_every_field_is_read_by_the_program():
    """A flag that nothing reads is a dead flag."""
    read = set()
    for path in (ROOT / "workers").rglob("*.py"):
        if path.name not in ("config.py", "presets.py"):
            nodes = [*ast.walk(ast.parse(path.read_text()))]
            read |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            keys = (node.slice for node in nodes if isinstance(node, ast.Subscript))
            read |= {key.value for key in keys if isinstance(key, ast.Constant)}
    # These two are looked for before anything is parsed.
    assert set(FIELDS) - read <= {"resume", "debug"}


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
    assert config.num_mini_batch <= config.envs_per_process * (
        steps if config.recurrent == "none" else 1
    )


def test_the_batch_of_ppo_is_that_of_all_workers_together():
    for words in (
        ("--num-processes", "2"),
        ("--num-processes", "1", "--num-steps", "2048"),
        ("--num-processes", "16"),
    ):
        config = parse(["--env-name", "HalfCheetah-v4", "--algo", "ppo", *words]).config
        batch = config.num_processes * config.envs_per_process * config.num_steps
        assert (batch, config.num_mini_batch, config.ppo_epoch, config.lr) == (2048, 8, 10, 6e-4)


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
    assert (cheetah.envs_per_process, cheetah.scale_rewards, cheetah.lr, cheetah.optimizer) == (
        16,
        True,
        3e-3,
        "rmsprop_tf",
    )
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


def test_classic_is_pytorch_a3cs_setting():
    config = parse(["--preset", "classic"]).config
    assert (config.lr, config.gae_lambda, config.max_grad_norm, config.activation) == (
        1e-4,
        1.0,
        50.0,
        "elu",
    )
    assert (config.loss_reduction, config.num_steps, config.entropy_coef) == ("sum", 20, 0.01)


@pytest.mark.parametrize(
    ("alias", "name", "text", "value"),
    [
        ("--tau", "gae_lambda", "0.5", 0.5),
        ("--workers", "num_processes", "3", 3),
        ("--env", "env_name", "CartPole-v0", "CartPole-v0"),
        ("--value-coef", "value_loss_coef", "0.1", 0.1),
        ("--num-env-steps", "num_env_steps", "1e6", 1_000_000),
    ],
)
def test_names_of_the_older_programs(alias, name, text, value):
    assert getattr(parse(["--env-name", "CartPole-v1", alias, text]).config, name) == value


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--num-proceses", "4"], "did you mean --num-processes"),
        (["--num-steps", "0"], "at least 1"),
        (["--num-steps", "2.5"], "not a whole number"),
        (["--gamma", "1.5"], "from 0.0 to 1.0"),
        (["--gamma", "nan"], "from 0.0 to 1.0"),
        (["--optimizer", "adagrad"], "invalid choice"),
        (["--env-kwargs", "frameskip"], "key=value"),
    ],
)
def test_a_wrong_flag_is_one_sentence(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(arguments)


def test_an_unknown_environment_names_the_nearest():
    with pytest.raises(EnvironmentProblem, match="PongNoFrameskip-v4"):
        parse(["--env-name", "PongNoFrameSkip-v4"])
    with pytest.raises(EnvironmentProblem, match="PongDeterministic-v4"):
        parse(["--env-name", "PongDeterminstic-v4"])


def test_pairs_are_read_as_python_writes_them():
    expected = {"a": 1, "b": 0.5, "c": True, "d": None, "e": "word", "f": "x=y"}
    assert parse_pairs(["a=1", "b=0.5", "c=True", "d=None", "e=word", "f=x=y"]) == expected


def test_help_shows_defaults_and_what_the_preset_makes_of_them():
    text = " ".join(build_parser({"recurrent": "lstm", "lr": 2.5e-4}).format_help().split())
    assert "(default: none; preset: lstm)" in text
    assert "(default: 0.0001; preset: 0.00025)" in text
    assert all(field.metadata["help"].split()[0] in text for field in FIELDS.values())


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--env-name", "Pung-v0"], 2, "Pong-v0"),
        (["--env-name", "CartPole-v1", "--lr", "fast"], 2, "not a number"),
        (
            [
                "--env-name",
                "CartPole-v1",
                "--algo",
                "ppo",
                "--envs-per-process",
                "2",
                "--recurrent-policy",
                "--num-mini-batch",
                "7",
                "--num-processes",
                "3",
            ],
            2,
            "more than the 6 sequences",
        ),
        (
            [
                *(
                    "--env-name",
                    "CartPole-v1",
                    "--algo",
                    "ppo",
                    "--recurrent-policy",
                    "--num-processes",
                    "3",
                ),
                *("--whole-episodes", "--envs-per-process", "1", "--num-mini-batch", "3"),
            ],
            2,
            "more than the 1 sequences",
        ),
        (
            ["--env-name", "CartPole-v1", "--no-use-gae", "--gae-lambda", "0.9"],
            2,
            "contradict each other",
        ),
        (
            ["--env-name", "tests.envs.fakes:Unbounded-v0", "--squash-actions"],
            2,
            "leave --squash-actions out",
        ),
        (["--resume", "nowhere"], 2, "nowhere"),
    ],
)
def test_mistakes_end_before_any_worker_starts(arguments, code, sentence):
    result = run_main(*arguments)
    assert result.returncode == code
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
