"""The algorithms of `--algo`: a row each. An algorithm is one row here plus one file in a3c/."""

import difflib
import importlib
import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envs.ids import ResolvedId
from workers.settings.checks import check_acktr, check_ppo
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.presets.acktr import acktr, authors
from workers.settings.presets.actor_critic import actor_critic
from workers.settings.presets.ppo import ppo
from workers.settings.presets.rows import Values


def _nothing_more(config: Config) -> dict[str, Any]:
    return {}


def _everything_goes(config: Config, typed: Mapping[str, Any]) -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that the program knows of an algorithm, besides the algorithm's own file.

    A variant is `dataclasses.replace(RECIPES["a2c"], algorithm="my_module:MyAlgorithm")`; see
    examples/own_algorithm.py.
    """

    # module:class, imported only where it is built, because parsing must not import torch.
    algorithm: str
    # The default of --exchange, and those that the algorithm goes with.
    exchange: str
    exchanges: tuple[str, ...]
    # The default of --optimizer.
    optimizer: str = Config.optimizer
    # Defaults of other fields, whatever the preset.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    # --preset auto: the values for an environment; from the typed flags over the defaults above.
    preset: Callable[[ResolvedId, Mapping[str, Any]], Values]
    # --preset authors: the values for bodies; from the typed flags. None: there is no such preset.
    authors: Callable[[Mapping[str, Any]], Values] | None = None
    # Arguments of the class beyond the fields that it shares by name with Config.
    arguments: Callable[[Config], dict[str, Any]] = _nothing_more
    # Raises UsageError for flags that do not go together; from all values and the typed ones.
    check: Callable[[Config, Mapping[str, Any]], None] = _everything_goes
    # Whether the loss of its minibatches can be traced; a3c/fast/tracing.py has the conditions.
    traced: bool = False
    # The group of its own flags in --help: a key of fields.GROUPS.
    flags: str | None = None

    def always(self) -> Values:
        """Return the values that hold with every preset."""
        optimizer = {} if self.optimizer == Config.optimizer else {"optimizer": self.optimizer}
        return {"exchange": self.exchange, **optimizer, **self.defaults}


def acktr_arguments(config: Config) -> dict[str, Any]:
    """Return the steps at which a worker samples the curvature, and who learns in which turn."""
    from a3c.acktr import CRITIC, POLICY

    fisher_steps = math.ceil(config.fisher_steps / config.num_processes)
    if config.whole_episodes:  # a segment has at least --num-steps
        fisher_steps = min(fisher_steps or config.num_steps, config.num_steps)
    turns: tuple[tuple[int, ...], ...] = ((),)  # one of both
    if config.value_updates:
        turns = config.value_updates * ((CRITIC,),) + ((POLICY,),)
    return {"fisher_steps": fisher_steps, "turns": turns}


A3C = Recipe(
    algorithm="a3c.advantage_actor_critic:AdvantageActorCritic",
    exchange="hogwild",
    exchanges=("hogwild", "barrier"),
    preset=actor_critic,
)
RECIPES: dict[str, Recipe] = {
    "a3c": A3C,
    "a2c": Recipe(
        algorithm=A3C.algorithm,
        exchange="barrier",
        exchanges=("hogwild", "barrier"),
        preset=actor_critic,
    ),
    "ppo": Recipe(
        algorithm="a3c.ppo:ProximalPolicyOptimization",
        exchange="barrier",
        exchanges=("hogwild", "barrier"),
        defaults={"normalize_advantages": True},
        preset=ppo,
        check=check_ppo,
        traced=True,
        flags="ppo",
    ),
    "acktr": Recipe(
        algorithm="a3c.acktr:NaturalActorCritic",
        exchange="barrier",
        exchanges=("barrier",),
        optimizer="kfac",
        # The first updates have no trust region: a longer or summed gradient would make them as
        # much longer.
        defaults={"lr": 0.25, "max_grad_norm": 0.5, "loss_reduction": "mean"},
        preset=acktr,
        authors=authors,
        arguments=acktr_arguments,
        check=check_acktr,
        flags="acktr",
    ),
}


def recipe(name: str) -> Recipe:
    """Return the row of `--algo name`: one of RECIPES, or `module:attribute`. UsageError."""
    if name in RECIPES:
        return RECIPES[name]
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UsageError(_unknown(name))
    row = getattr(_imported(module, name), attribute, None)
    if not isinstance(row, Recipe):
        raise UsageError(
            f"--algo {name}: {module} has no Recipe of the name {attribute}; "
            "see workers/settings/algorithms.py"
        )
    return row


def _imported(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a user's code may raise anything
        place = _place(error)
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--algo {name}: {module} cannot be imported "
            f"({type(error).__name__}{place}: {reason}); correct it, or check the name"
        ) from error


def _place(error: Exception) -> str:
    """Return the file and line of an imported module's code that failed, if any was reached."""
    machinery = (__file__, importlib.__file__)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename not in machinery and not frame.filename.startswith("<"):
            return f" in {frame.filename}, line {frame.lineno}"
    return ""


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, RECIPES, n=1)
    if near:
        return f"--algo {name} is unknown; did you mean {near[0]}?"
    *first, last = RECIPES
    return (
        f"--algo {name} is unknown; choose {', '.join(first)} or {last}, "
        "or module:attribute for a recipe of your own"
    )
