"""The argument parser, made from the fields of the configuration."""

import argparse
import dataclasses
import decimal
import difflib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from workers.invocation import VERSION, Invocation
from workers.settings.algorithms import RECIPES
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.fields import GROUPS, flag_name

FIELDS: dict[str, Any] = {field.name: field for field in dataclasses.fields(Config)}
TYPES = typing.get_type_hints(Config)
# Flags of pytorch-a2c-ppo-acktr that stand for a value of another flag.
SHORTHANDS = {
    "--use-gae": (
        "--gae-lambda 0.95 unless that flag is given; with no-, the n-step return: --gae-lambda 1"
    ),
    "--recurrent-policy": ("--recurrent gru unless that flag is given; with no-, --recurrent none"),
}
# Its flags for graphics cards.
ACCEPTED = {
    "--no-cuda": "accepted, without effect: everything is computed on processor cores",
    "--cuda-deterministic": "accepted, without effect: at a barrier every bit is always the same",
}

_MOST_DIGITS = 300  # of a whole number; 1e999999999 would take the machine's memory


def build_parser(made_by_preset: Mapping[str, Any]) -> argparse.ArgumentParser:
    """Return the parser; its namespace holds only what was typed.

    `made_by_preset`: the values of fields that the preset sets, for --help.
    """
    invocation = Invocation.here()
    parser = _Parser(
        prog=invocation.name,
        usage=f"{invocation.train} [flags]".replace("%", "%%"),
        description="Trains an agent with asynchronous advantage actor-critic (A3C), or at a "
        "barrier with A2C, PPO or ACKTR.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=36, width=120),
    )
    groups = {key: parser.add_argument_group(title, _whose(key)) for key, title in GROUPS.items()}
    key = ""
    for name, field in FIELDS.items():
        key = field.metadata.get("group", key)
        names = (flag_name(field), *field.metadata["aliases"])
        groups[key].add_argument(*names, **_options(name, made_by_preset))
    groups["run"].add_argument("--version", action="version", version=VERSION)
    for name, text in SHORTHANDS.items():
        groups["algorithm"].add_argument(name, action=argparse.BooleanOptionalAction, help=text)
    for name, text in ACCEPTED.items():
        groups["algorithm"].add_argument(name, action="store_true", help=text)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise UsageError; name the nearest flags of unknown ones."""
        words = message.split() if "unrecognized" in message else []
        for word in words:
            if word.startswith("--"):
                unknown = word.split("=")[0]
                near = difflib.get_close_matches(unknown, [*self._option_string_actions], n=2)
                message += f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(message)


def _whose(group: str) -> str | None:
    """Return a line for --help about a group of flags that belong to some algorithms only."""
    names = [name for name, recipe in RECIPES.items() if recipe.flags == group]
    return f"with --algo {' or '.join(names)}" if names else None


def _options(name: str, made_by_preset: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of argparse's add_argument for a field."""
    metadata = FIELDS[name].metadata
    options: dict[str, Any] = {"dest": name, "help": _help(name, made_by_preset)}
    if TYPES[name] is bool:
        switch = "store_true" if name.startswith("no_") else argparse.BooleanOptionalAction
        return options | {"action": switch}
    choices = metadata.get("choices")
    options["type"] = _converter(name)
    options["choices"] = choices
    options["metavar"] = None if choices else _value_type(name).__name__.upper()
    if metadata.get("repeated"):
        options["nargs"] = metadata.get("count", "+")
    return options


def _value_type(name: str) -> type:
    """Return the type of a field's value, or of its elements; without None."""
    hint = TYPES[name]
    if isinstance(hint, types.UnionType):
        (hint,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
    if typing.get_origin(hint) is tuple:
        hint = typing.get_args(hint)[0]
    return typing.cast(type, hint)


def _converter(name: str) -> Callable[[str], Any]:
    """Return the function from a word to a value; it raises argparse.ArgumentTypeError."""
    kind = _value_type(name)
    optional = kind is not str and FIELDS[name].default is None

    def convert(text: str) -> Any:
        if optional and text == "none":
            return None
        value = _read(text, kind)
        if value is None:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {what}{' or none' if optional else ''}"
            )
        low, high = FIELDS[name].metadata.get("minimum"), FIELDS[name].metadata.get("maximum")
        # In this form, because all comparisons with nan are false.
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            raise argparse.ArgumentTypeError(
                f"{text} must be {f'at least {low}' if high is None else f'from {low} to {high}'}"
            )
        return value

    return convert


def _read(text: str, kind: type) -> Any:
    """Return a word as a value, or None if it can't be one; 1e6 is a whole number, 2.5 is not."""
    try:
        if kind is not int:
            return kind(text)
        number = decimal.Decimal(text)  # keeps all digits, of which a float has 16
        if number.adjusted() > _MOST_DIGITS:
            return None
        return int(number) if int(number) == number else None
    except (ValueError, ArithmeticError):
        return None


def _help(name: str, made_by_preset: Mapping[str, Any]) -> str:
    """Return a flag's text for --help, with its default and what the preset makes of it."""
    default = FIELDS[name].default
    notes = [] if default in (None, ()) else [f"default: {_words(default)}"]
    if name in made_by_preset and made_by_preset[name] != default:
        notes.append(f"preset: {_words(made_by_preset[name])}")
        if default is None and _value_type(name) is not str:
            notes.append("none undoes it")
    text: str = FIELDS[name].metadata["help"] + (f" ({'; '.join(notes)})" if notes else "")
    return text.replace("%", "%%")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
