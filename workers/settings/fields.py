"""How a field of the configuration describes its flag."""

from dataclasses import Field, field
from typing import Any

# The groups of --help in their order: key in the fields' metadata -> title.
GROUPS = {
    "run": "Run",
    "environment": "Environment",
    "network": "Network",
    "algorithm": "Algorithm",
    "ppo": "PPO",
    "optimizer": "Optimizer",
    "acktr": "ACKTR",
    "evaluation": "Evaluation (the test worker)",
    "records": "Records and checkpoints",
    "reliability": "Reliability",
}


def flag(default: Any, help: str, *, aliases: tuple[str, ...] = (), **options: Any) -> Any:
    """Return a dataclass field with a default and what the parser must know of its flag.

    `options`: `group` (a key of GROUPS: of this flag and of those after it, up to the next
    `group`), `choices`, `minimum`, `maximum`, `repeated` (takes several values), `count` (exactly
    so many).
    """
    return field(default=default, metadata={"help": help, "aliases": aliases, **options})


def flag_name(config_field: "Field[Any]") -> str:
    """Return the command-line spelling of a field: `--num-steps` of `num_steps`."""
    return "--" + config_field.name.replace("_", "-")
