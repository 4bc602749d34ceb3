"""What the tables have in common: how a row is found, and the sizes that workers share."""

from collections.abc import Mapping
from typing import Any

from envs.ids import ResolvedId
from workers.process import cores
from workers.settings.config import Config

Values = dict[str, Any]  # field of Config -> value


def row(table: Mapping[str, Values], environment: ResolvedId) -> Values:
    """Return a copy of the environment's row of a table.

    Bodies have the row of their name or, without one, "physics"; all other environments have that
    of their observation ("vector": classic control, toys and environments of users).
    """
    if environment.family == "physics":
        return dict(table.get(body(environment), table["physics"]))
    return dict(table[environment.observation])


def body(environment: ResolvedId) -> str:
    """Return the name without the version: `Hopper` of Hopper-v4."""
    return environment.id.split("-")[0]


def num_processes(typed: Mapping[str, Any]) -> int:
    """Return the number of training workers."""
    return typed.get("num_processes", Config.num_processes) or cores()


def share(number: int, typed: Mapping[str, Any]) -> int:
    """Return how many of `number` environments each worker has, at least one."""
    return max(1, round(number / num_processes(typed)))
