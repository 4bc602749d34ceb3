"""The rows of --algo: those of the house, and those of users."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from workers.settings.algorithms import RECIPES, recipe
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.fields import GROUPS
from workers.settings.flags import parse

ROOT = Path(__file__).parents[3]
OWN = """
import dataclasses
from workers.settings.algorithms import RECIPES

A2C = dataclasses.replace(RECIPES["a2c"], algorithm="own_rows:Loss")
PPO = dataclasses.replace(RECIPES["ppo"], algorithm="own_rows:Loss")
ACKTR = dataclasses.replace(RECIPES["acktr"], algorithm="own_rows:Loss")
LOCKSTEP = dataclasses.replace(A2C, exchanges=("barrier",))
DECAYING = dataclasses.replace(A2C, defaults={"lr": 0.5, "use_linear_lr_decay": True})
NO_RECIPE = 7
"""


@pytest.fixture
def own_rows(tmp_path, monkeypatch):
    """A user's module of rows."""
    (tmp_path / "own_rows.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_rows", raising=False)
    yield tmp_path
    sys.modules.pop("own_rows", None)


@pytest.mark.parametrize("name", RECIPES)
def test_rows_name_a_class_an_exchange_and_flags_that_exist(name):
    row = recipe(name)
    module, _, attribute = row.algorithm.partition(":")
    assert (ROOT / f"{module.replace('.', '/')}.py").read_text().count(f"class {attribute}") == 1
    assert row.exchange in row.exchanges
    assert {*row.always()} <= {field.name for field in dataclasses.fields(Config)}
    assert row.flags is None or row.flags in GROUPS


def test_parsing_does_not_import_torch():
    script = (
        "import sys; from workers.settings.flags import parse; "
        "parse(['--env-name', 'CartPole-v1', '--algo', 'acktr']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        "--env-name Pong-v0",
        "--env-name Hopper-v4 --num-processes 2",
        "--env-name CartPole-v1 --exchange hogwild",
        "--env-name CartPole-v1 --preset classic",
        "--env-name CartPole-v1 --preset none",
    ],
)
@pytest.mark.parametrize("name", ["a2c", "ppo", "acktr"])
def test_a_row_of_a_users_has_the_presets_of_the_row_that_it_is_made_from(name, words, own_rows):
    if name == "acktr":
        words = words.replace("--exchange hogwild", "")
    own = f"own_rows:{name.upper()}"
    here, there = (parse(["--algo", algo, *words.split()]) for algo in (name, own))
    assert there.config == dataclasses.replace(here.config, algo=own)
    assert there.origins == here.origins


def test_a_row_of_a_users_has_the_checks_of_the_row_that_it_is_made_from(own_rows):
    acktr = ["--env-name", "CartPole-v1", "--algo", "own_rows:ACKTR"]
    with pytest.raises(UsageError, match="own_rows:ACKTR does not go with --optimizer adam"):
        parse([*acktr, "--optimizer", "adam"])
    with pytest.raises(UsageError, match="leave that out"):
        parse([*acktr, "--network", "impala"])
    with pytest.raises(UsageError, match="at most"):
        parse(["--env-name", "CartPole-v1", "--algo", "own_rows:PPO", "--num-mini-batch", "999"])


def test_a_row_of_acktrs_kind_has_its_authors_preset(own_rows):
    words = ["--env-name", "HalfCheetah-v4", "--preset", "authors"]
    assert parse([*words, "--algo", "own_rows:ACKTR"]).config.value_updates == 25
    with pytest.raises(UsageError, match="--preset authors is for --algo acktr"):
        parse([*words, "--algo", "own_rows:A2C"])


def test_a_row_has_its_own_exchanges_and_defaults(own_rows):
    words = ["--env-name", "CartPole-v1", "--algo", "own_rows:LOCKSTEP"]
    assert parse(words).config.exchange == "barrier"
    with pytest.raises(UsageError, match="--exchange barrier only; leave --exchange hogwild out"):
        parse([*words, "--exchange", "hogwild"])
    words = ["--env-name", "CartPole-v1", "--algo", "own_rows:DECAYING", "--preset", "none"]
    assert (parse(words).config.lr, parse(words).config.use_linear_lr_decay) == (0.5, True)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("pppo", "--algo pppo is unknown; did you mean ppo?"),
        ("acktrr", "--algo acktrr is unknown; did you mean acktr?"),
        ("dqn", "--algo dqn is unknown; choose a3c, a2c, ppo or acktr, or module:attribute"),
        (":A2C", "--algo :A2C is unknown; choose"),
        ("own_rows:", "--algo own_rows: is unknown; choose"),
        ("own_rows:A2D", "--algo own_rows:A2D: own_rows has no Recipe of the name A2D"),
        ("own_rows:NO_RECIPE", "own_rows has no Recipe of the name NO_RECIPE"),
        ("nowhere_at_all:A2C", "nowhere_at_all cannot be imported (ModuleNotFoundError: No"),
    ],
)
def test_an_unknown_algorithm_is_one_sentence(name, sentence, own_rows):
    with pytest.raises(UsageError) as problem:
        parse(["--env-name", "CartPole-v1", "--algo", name])
    assert sentence in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_users_module_that_fails_is_named_with_file_and_line(tmp_path, monkeypatch):
    path = tmp_path / "failing_rows.py"
    path.write_text("import math\n\nROW = math.inff\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError) as problem:
        parse(["--env-name", "CartPole-v1", "--algo", "failing_rows:ROW"])
    assert f"AttributeError in {path}, line 3: module 'math' has no" in str(problem.value)


@pytest.mark.parametrize(
    ("words", "fisher_steps"),
    [
        ("--fisher-steps 0", 0),  # all
        ("--fisher-steps 64", 22),  # a third, rounded up
        ("--whole-episodes", 20),  # a segment is not shorter than --num-steps
        ("--whole-episodes --fisher-steps 30", 10),
        ("--whole-episodes --fisher-steps 300", 20),
    ],
)
def test_workers_share_the_steps_of_the_curvature(words, fisher_steps):
    command = "--env-name CartPole-v1 --algo acktr --num-processes 3 --envs-per-process 1"
    config = parse([*command.split(), *words.split()]).config
    assert RECIPES["acktr"].arguments(config)["fisher_steps"] == fisher_steps


def test_the_critic_has_its_turns_before_the_policy():
    from a3c.acktr import CRITIC, POLICY

    command = ["--env-name", "CartPole-v1", "--algo", "acktr"]
    arguments = RECIPES["acktr"].arguments(parse([*command, "--value-updates", "2"]).config)
    assert arguments["turns"] == ((CRITIC,), (CRITIC,), (POLICY,))
    assert RECIPES["acktr"].arguments(parse(command).config)["turns"] == ((),)
