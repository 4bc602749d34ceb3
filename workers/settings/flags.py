"""The command line: from arguments to a configuration, with presets between the defaults and what was typed."""

import argparse
import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from workers.settings.config import GROUPS, Config, flag_name
from workers.settings.presets import preset

FIELDS: dict[str, Any] = {field.name: field for field in dataclasses.fields(Config)}
TYPES = typing.get_type_hints(Config)


# What pytorch-a2c-ppo-acktr says in words of its own.
SHORTHANDS = {
    "--use-gae": "--gae-lambda 0.95 unless that flag says otherwise; with no-, the n-step return: --gae-lambda 1",
    "--recurrent-policy": "--recurrent gru unless that flag says otherwise; with no-, --recurrent none",
}
# What it has for graphics cards.
ACCEPTED = {
    "--no-cuda": "accepted and without effect: everything is computed on processor cores",
    "--cuda-deterministic": "accepted and without effect: at a barrier every bit is always the same",
}


class UsageError(Exception):
    """A mistake on the command line, in one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A configuration, and where each value that is not a default comes from."""

    config: Config
    environment: Any  # envs.ResolvedId
    origins: dict[str, str]  # field name -> "preset", "flag" or "resumed run"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        unknown = (
            [word for word in message.split() if word.startswith("--")]
            if "unrecognized" in message
            else []
        )
        for word in unknown:
            near = difflib.get_close_matches(
                word.split("=")[0], [*self._option_string_actions], n=2
            )
            message += f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(message)


def _value_type(name: str) -> type:
    hint = TYPES[name]
    if isinstance(hint, types.UnionType):
        (hint,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    return typing.cast(type, hint)


def _converter(name: str) -> Callable[[str], Any]:
    kind, metadata = _value_type(name), FIELDS[name].metadata
    optional = kind is not str and FIELDS[name].default is None

    def convert(text: str) -> Any:
        if optional and text == "none":
            return None
        try:
            value = kind(float(text)) if kind is int else kind(text)
            exact = kind is not int or value == float(text)
        except (ValueError, OverflowError):
            exact = False
        if not exact:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {what}{' or none' if optional else ''}"
            )
        low, high = metadata.get("minimum"), metadata.get("maximum")
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise argparse.ArgumentTypeError(
                f"{text} must be {f'at least {low}' if high is None else f'from {low} to {high}'}"
            )
        return value

    return convert


def _help(name: str, made: dict[str, Any]) -> str:
    default = FIELDS[name].default
    shown = "" if default in (None, ()) else f" (default: {_words(default)}"
    if name in made and made[name] != default:
        shown = (shown + "; " if shown else " (") + f"preset: {_words(made[name])}"
        shown += "; none undoes it" if default is None and _value_type(name) is not str else ""
    text: str = FIELDS[name].metadata["help"] + shown + (")" if shown else "")
    return text.replace("%", "%%")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def build_parser(made_by_preset: dict[str, Any]) -> argparse.ArgumentParser:
    """The parser; its namespace holds only what was typed."""
    parser = _Parser(
        prog="main.py",
        usage="python main.py [flags]",
        description="Trains an agent with asynchronous advantage actor-critic (A3C), or at a barrier with A2C, PPO or ACKTR.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120),
    )
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    group = parser._action_groups[0]
    for name, field in FIELDS.items():
        metadata = field.metadata
        group = groups.get(metadata.get("group", ""), group)
        names = (flag_name(field), *metadata["aliases"])
        options: dict[str, Any] = {"dest": name, "help": _help(name, made_by_preset)}
        if TYPES[name] is bool:
            options["action"] = (
                "store_true" if name.startswith("no_") else argparse.BooleanOptionalAction
            )
        else:
            options["type"] = _converter(name)
            options["choices"] = metadata.get("choices")
            options["metavar"] = (
                None if metadata.get("choices") else _value_type(name).__name__.upper()
            )
            if metadata.get("repeated"):
                options["nargs"] = metadata.get("count", "+")
        group.add_argument(*names, **options)
    for name, text in SHORTHANDS.items():
        groups["algorithm"].add_argument(name, action=argparse.BooleanOptionalAction, help=text)
    for name, text in ACCEPTED.items():
        groups["algorithm"].add_argument(name, action="store_true", help=text)
    return parser


def parse(arguments: Sequence[str], *, resumed: dict[str, Any] | None = None) -> CommandLine:
    """The configuration of a command line; `resumed`: the fields of the run that it goes on with.

    UsageError, or envs.EnvironmentProblem for the environment.
    """
    if "-h" in arguments or "--help" in arguments:
        _print_help(arguments)
    namespace = vars(build_parser({}).parse_args(arguments))
    for name in ACCEPTED:
        namespace.pop(name.removeprefix("--").replace("-", "_"), None)
    typed: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in namespace.items()
    }
    _write_out(typed)
    from envs.ids import resolve

    named = {name: field.default for name, field in FIELDS.items()} | (resumed or {}) | typed
    environment = resolve(
        named["env_name"],
        env_kwargs=parse_pairs(named["env_kwargs"]),
        obs_mode=named["obs_mode"],
        env_modules=named["env_module"],
    )
    if resumed is None:
        if named["preset"] == "authors" and (
            named["algo"] != "acktr" or environment.family != "physics"
        ):
            raise UsageError(
                "--preset authors is for --algo acktr and bodies such as HalfCheetah-v4; leave it out"
            )
        origin = "preset"
        below = preset(
            name=named["preset"], algo=named["algo"], environment=environment, typed=typed
        )
    else:
        origin, below = "resumed run", resumed
    origins = dict.fromkeys(below, origin) | dict.fromkeys(typed, "flag")
    config = Config(**{**below, **typed})
    _check_whole_episodes(config)
    _check_minibatches(config)
    _check_kfac(config, typed)
    return CommandLine(config=config, environment=environment, origins=origins)


def _check_kfac(config: Config, typed: dict[str, Any]) -> None:
    if (config.algo == "acktr") != (config.optimizer == "kfac"):
        raise UsageError(
            f"--algo {config.algo} does not go with --optimizer {config.optimizer}: acktr's is kfac, and kfac is acktr's"
        )
    if config.algo == "acktr" and not config.value_updates:
        together = config.value_kl_clip is None
        for name in ("value_lr", "value_damping", "value_stat_decay", "value_cold_updates"):
            if typed.get(name) is not None and (together or name == "value_lr"):
                what = (
                    "--value-updates"
                    if name == "value_lr"
                    else "--value-kl-clip or --value-updates"
                )
                raise UsageError(f"--{name.replace('_', '-')} needs {what}")
    if config.algo == "acktr" and (config.network == "impala" or config.auxiliary_heads):
        which = "--network impala" if config.network == "impala" else "--auxiliary-heads"
        raise UsageError(
            f"--algo acktr must see all layers of a network, and does not see those of {which}; leave that out"
        )
    if config.algo == "acktr" and (config.exchange != "barrier" or config.distributed_step_size):
        which = (
            "--distributed-step-size"
            if config.distributed_step_size
            else f"--exchange {config.exchange}"
        )
        raise UsageError(
            f"--algo acktr makes one step of all workers' batches, with as many samples of each; leave {which} out"
        )


def _check_whole_episodes(config: Config) -> None:
    if not config.whole_episodes:
        return
    if config.envs_per_process > 1:
        raise UsageError(
            "--whole-episodes needs --envs-per-process 1: episodes of several environments do not end together"
        )
    if config.algo == "acktr" and config.recurrent != "none":
        raise UsageError(
            "--whole-episodes is not for --algo acktr with a recurrent network; use --no-whole-episodes"
        )


def _check_minibatches(config: Config) -> None:
    if config.algo != "ppo":
        return
    recurrent = config.recurrent != "none"
    shortest = min(config.distributed_step_size or (config.num_steps,))
    pieces = config.envs_per_process * (1 if recurrent else shortest)
    alike = not config.distributed_step_size and not config.whole_episodes
    dealt = recurrent and config.exchange == "barrier" and alike
    most = pieces * (config.num_processes if dealt else 1)
    if config.num_mini_batch > most:
        what = "sequences, one an environment" if recurrent else "steps"
        whose = "all workers' segments have" if dealt else "a worker's segment has"
        raise UsageError(
            f"--num-mini-batch {config.num_mini_batch} is more than the {most} {what}, that {whose}; "
            f"use at most {most}, or more {'--envs-per-process' if recurrent else '--num-steps'}"
        )


def _write_out(typed: dict[str, Any]) -> None:
    """Puts what shorthands stand for in their place."""
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


def _print_help(arguments: Sequence[str]) -> NoReturn:
    """Prints the help with what the preset makes of the rest of the line, as far as the rest is right."""
    rest = [word for word in arguments if word not in ("-h", "--help")]
    try:
        line = parse(rest)
        made = {
            name: getattr(line.config, name)
            for name, origin in line.origins.items()
            if origin == "preset"
        }
    except Exception:  # whatever is wrong with the rest of the line, somebody asks for help
        made = {}
    build_parser(made).print_help()
    sys.exit(0)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """key=value words as a dictionary; numbers, True, False, None and quoted text are read as Python writes them."""
    import ast

    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--env-kwargs takes key=value, not {pair!r}")
        try:
            result[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            result[key] = text
    return result
