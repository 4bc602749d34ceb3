"""The command line: every flag, its names, and mistakes."""

import ast
import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from envs.ids import EnvironmentProblem
from workers.settings.algorithms import RECIPES
from workers.settings.errors import OtherVersion, UsageError
from workers.settings.flags import parse
from workers.settings.parser import FIELDS, TYPES, build_parser
from workers.settings.saved import saved_config

ROOT = Path(__file__).parents[3]
OTHER_VALUES = {
    "env_name": "CartPole-v0",
    "env_kwargs": "sutton_barto_reward=True",
    "env_module": "math",
    "algo": "a2c",
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
    """Return a command line that gives field `name` another value than its default."""
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


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "obs_mode"])
def test_every_flag_changes_its_field(name):
    base = ["--env-name", "CartPole-v1", "--preset", "none"]
    changed = parse([*base, *typed(name)])
    assert getattr(changed.config, name) != FIELDS[name].default
    assert changed.origins[name] == "flag"


def attributes(folder: str, *, without: tuple[str, ...] = ()) -> set[str]:
    """Return the names of all attributes and keys that the files of a folder read."""
    read = set()
    for path in (ROOT / folder).rglob("*.py"):
        if path.name in without or path.parent.name in without:
            continue
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        read |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        keys = (node.slice for node in nodes if isinstance(node, ast.Subscript))
        read |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return read


def test_every_field_is_read_by_the_program():
    """A flag that nothing reads has no effect; algorithms are given the fields of their names."""
    read = attributes("workers", without=("config.py", "presets", "checks.py"))
    of_algorithms = set()
    for recipe in RECIPES.values():
        module, _, name = recipe.algorithm.partition(":")
        kind = getattr(importlib.import_module(module), name)
        of_algorithms |= {field.name for field in dataclasses.fields(kind)}
    read |= of_algorithms & attributes("a3c")
    # These two are looked for before anything is parsed.
    assert set(FIELDS) - read <= {"resume", "debug"}


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
            "--env-name PongNoFrameskip-v4 --algo ppo --use-gae --lr 2.5e-4 --clip-param 0.1 "
            "--value-loss-coef 0.5 --num-processes 8 --num-steps 128 --num-mini-batch 4 "
            "--log-interval 1 --use-linear-lr-decay --entropy-coef 0.01 --cuda-deterministic",
            "PongNoFrameskip-v4",
            (8, 1, 128, 2.5e-4),
        ),
        (
            "--env-name Reacher-v2 --algo a2c --num-env-steps 1000000 --num-processes 4",
            "Reacher-v4",
            (4, 4, 20, 3e-3),
        ),
        (
            "--env-name Reacher-v2 --algo ppo --use-gae --log-interval 1 --num-steps 2048 "
            "--num-processes 1 --lr 3e-4 --entropy-coef 0 --value-loss-coef 0.5 --ppo-epoch 10 "
            "--num-mini-batch 32 --gamma 0.99 --gae-lambda 0.95 --num-env-steps 1000000 "
            "--use-linear-lr-decay --use-proper-time-limits",
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
            "--env-name PongNoFrameskip-v4 --algo ppo --recurrent-policy --num-processes 8 "
            "--num-steps 128 --num-mini-batch 4",
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
        (["--num-steps", "nan"], "not a whole number"),
        (["--num-steps", "inf"], "not a whole number"),
        (["--num-steps", "0.99999999999999999999"], "not a whole number"),
        (["--num-steps", "1e999999999"], "not a whole number"),
        (["--seed", str(2**63)], "from 0 to 9223372036854775807"),
        (["--gamma", "1.5"], "from 0.0 to 1.0"),
        (["--gamma", "nan"], "from 0.0 to 1.0"),
        (["--optimizer", "adagrad"], "invalid choice"),
        (["--env-kwargs", "frameskip"], "key=value"),
    ],
)
def test_a_wrong_flag_is_one_sentence(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        parse(arguments)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9007199254740993", 2**53 + 1),
        ("9007199254740993e0", 2**53 + 1),
        (str(2**63 - 1), 2**63 - 1),
        ("1.5e6", 1_500_000),
        ("1_000", 1000),
    ],
)
def test_whole_numbers_keep_all_their_digits(text, number):
    config = parse(["--seed", text, "--num-env-steps", text]).config
    assert (config.seed, config.num_env_steps) == (number, number)
    saved = json.loads(json.dumps(dataclasses.asdict(config)))
    assert parse([], resumed=saved).config.seed == number


def test_an_unknown_environment_names_the_nearest():
    with pytest.raises(EnvironmentProblem, match="PongNoFrameskip-v4"):
        parse(["--env-name", "PongNoFrameSkip-v4"])
    with pytest.raises(EnvironmentProblem, match="PongDeterministic-v4"):
        parse(["--env-name", "PongDeterminstic-v4"])


def test_a_resumed_runs_fields_lie_below_the_flags_and_no_preset_does():
    saved = dataclasses.asdict(parse(["--env-name", "Pong-v0", "--lr", "7"]).config)
    del saved["fast"]  # as in checkpoints that are older than this flag
    line = parse(["--num-env-steps", "5"], resumed=saved)
    assert (line.config.lr, line.origins["lr"]) == (7.0, "resumed run")
    assert (line.config.num_env_steps, line.origins["num_env_steps"]) == (5, "flag")
    assert line.config.fast


def test_saved_settings_of_other_versions():
    ppo = {"algo": "ppo", "normalize_advantages": False}
    assert saved_config({"config": ppo})["normalize_advantages"]
    assert not saved_config({"config": ppo | {"load": None}})["normalize_advantages"]
    with pytest.raises(OtherVersion, match="does not know \\(brightness, tint\\)"):
        saved_config({"config": {"tint": 1, "lr": 0.1, "brightness": 2}})


def test_help_shows_defaults_and_what_the_preset_makes_of_them():
    text = " ".join(build_parser({"recurrent": "lstm", "lr": 2.5e-4}).format_help().split())
    assert "(default: none; preset: lstm)" in text
    assert "(default: 0.0001; preset: 0.00025)" in text
    assert all(field.metadata["help"].split()[0] in text for field in FIELDS.values())


def test_help_groups_the_flags_of_an_algorithm_under_its_name():
    text = build_parser({}).format_help()
    _, _, rest = text.partition("\nPPO:\n  with --algo ppo\n")
    ppo, _, rest = rest.partition("\nOptimizer:\n")
    optimizer, _, rest = rest.partition("\nACKTR:\n  with --algo acktr\n")
    acktr, _, _ = rest.partition("\nEvaluation (the test worker):\n")
    assert ("--clip-param" in ppo, "--kl-clip" in ppo) == (True, False)
    assert ("--no-shared" in optimizer, "--kl-clip" in optimizer) == (True, False)
    assert ("--kl-clip" in acktr, "--no-shared" in acktr) == (True, False)


def test_help_is_printed_whatever_is_wrong_with_the_rest_of_the_line(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--env-name", "Nothing-v9", "--help"])
    assert end.value.code == 0
    assert "preset:" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parse(["--help", "--env-name", "HalfCheetah-v4"])
    assert "(default: adam; preset: rmsprop_tf)" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--env-name Pung-v0", "Pong-v0"),
        ("--env-name CartPole-v1 --lr fast", "not a number"),
        ("--env-name CartPole-v1 --algo pppo", "did you mean ppo?"),
        (
            "--env-name CartPole-v1 --algo ppo --envs-per-process 2 --recurrent-policy "
            "--num-mini-batch 7 --num-processes 3",
            "more than the 6 sequences",
        ),
        (
            "--env-name CartPole-v1 --algo ppo --recurrent-policy --num-processes 3 "
            "--whole-episodes --envs-per-process 1 --num-mini-batch 3",
            "more than the 1 sequences",
        ),
        ("--env-name CartPole-v1 --no-use-gae --gae-lambda 0.9", "contradict each other"),
        (
            "--env-name tests.envs.fakes:Unbounded-v0 --squash-actions",
            "leave --squash-actions out",
        ),
        ("--resume nowhere", "nowhere"),
    ],
)
def test_mistakes_end_before_any_worker_starts(words, sentence):
    result = run_main(*words.split())
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
