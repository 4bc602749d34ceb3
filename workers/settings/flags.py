"""From a command line to a configuration. Presets lie between the defaults and what was typed."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from envs.ids import ResolvedId, resolve
from workers.settings.algorithms import recipe
from workers.settings.checks import (
    check_exchange,
    check_fast,
    check_optimizer,
    check_whole_episodes,
)
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.pairs import parse_pairs
from workers.settings.parser import ACCEPTED, FIELDS, build_parser
from workers.settings.presets.choice import evaluation_values, preset


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A configuration, and where each value that is not a default comes from."""

    config: Config
    environment: ResolvedId
    origins: dict[str, str]  # field name -> "preset", "flag" or "resumed run"


def parse(arguments: Sequence[str], *, resumed: dict[str, Any] | None = None) -> CommandLine:
    """Return the configuration of a command line.

    `resumed`: the fields of the run that it resumes. UsageError; envs.EnvironmentProblem for the
    environment.
    """
    if "-h" in arguments or "--help" in arguments:
        _print_help(arguments)
    typed = _typed(arguments)
    named = {name: field.default for name, field in FIELDS.items()} | (resumed or {}) | typed
    environment = resolve(
        named["env_name"],
        env_kwargs=parse_pairs(named["env_kwargs"]),
        obs_mode=named["obs_mode"],
        env_modules=named["env_module"],
    )
    below = resumed
    if below is None:
        below = evaluation_values(environment) | preset(
            name=named["preset"], algo=named["algo"], environment=environment, typed=typed
        )
    origin = "preset" if resumed is None else "resumed run"
    config = Config(**{**below, **typed})
    _check(config, typed)
    return CommandLine(
        config=config,
        environment=environment,
        origins=dict.fromkeys(below, origin) | dict.fromkeys(typed, "flag"),
    )


def _typed(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the fields that flags give."""
    namespace = vars(build_parser({}).parse_args(arguments))
    for name in ACCEPTED:
        namespace.pop(name.removeprefix("--").replace("-", "_"), None)
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in namespace.items()
    }
    _replace_shorthands(typed)
    return typed


def _replace_shorthands(typed: dict[str, Any]) -> None:
    """Replace shorthands by the fields that they stand for."""
    for shorthand, name, on, off in (
        ("use_gae", "gae_lambda", 0.95, 1.0),
        ("recurrent_policy", "recurrent", "gru", "none"),
    ):
        chosen = typed.pop(shorthand, None)
        if chosen is None:
            continue
        if not chosen and typed.get(name, off) != off:
            flags = f"--no-{shorthand} and --{name} {typed[name]}".replace("_", "-")
            raise UsageError(f"{flags} contradict each other; leave one out")
        typed.setdefault(name, on if chosen else off)


def _check(config: Config, typed: Mapping[str, Any]) -> None:
    """Raise UsageError for flags that do not go together."""
    chosen = recipe(config.algo)
    check_fast(config)
    check_whole_episodes(config)
    check_optimizer(config, of_recipe=chosen.optimizer)
    chosen.check(config, typed)
    check_exchange(config, exchanges=chosen.exchanges)


def _print_help(arguments: Sequence[str]) -> NoReturn:
    """Print the help, with what the preset makes of the rest of the line, and exit.

    If the rest of the line is wrong, the help is printed without the preset.
    """
    rest = [word for word in arguments if word not in ("-h", "--help")]
    made = {}
    try:
        line = parse(rest)
        for name, origin in line.origins.items():
            if origin == "preset":
                made[name] = getattr(line.config, name)
    except Exception:  # anything may be wrong with the rest, user's modules included
        made = {}
    build_parser(made).print_help()
    sys.exit(0)
