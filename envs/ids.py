"""From the name that a user types to an environment id, its arguments and its observations."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from envs.legacy import Alias, describe_emulation, dm_control_id, find_alias
from envs.packages import installed_by, package_of
from envs.reasons import place, reason

Family = Literal["atari", "physics", "control"]
Observation = Literal["frame42", "stack42", "stack84", "ram", "vector"]
STACKS = ("stack42", "stack84")
OBS_MODES = ("auto", "frame42", *STACKS, "ram")

# A family's environments have one of these words in their entry point; all others are "control".
# `envs.families.FAMILIES` says how each family's environments are made.
ENTRY_POINTS: dict[Family, tuple[str, ...]] = {
    "atari": ("ale_py",),
    "physics": ("mujoco", "box2d", "dm_control", "bullet"),
}

# Modules that choose how MuJoCo draws while they are imported.
DRAWING_MODULES = ("shimmy", "dm_control")


class EnvironmentProblem(ValueError):
    """A user's mistake about an environment: one sentence with the fix in it, printed as it is."""


@dataclass(frozen=True)
class ResolvedId:
    """All that a process needs to make an environment, as plain picklable values.

    `modules` are imported before the environment is made.
    """

    requested: str
    id: str
    kwargs: dict[str, Any]
    family: Family
    observation: Observation
    note: str | None
    modules: tuple[str, ...] = ()

    @property
    def stacked(self) -> bool:
        """Whether an observation is a stack of four frames."""
        return self.observation in STACKS


def resolve(
    env_name: str,
    *,
    env_kwargs: Mapping[str, Any] | None = None,
    obs_mode: str = "auto",
    env_modules: Sequence[str] = (),
) -> ResolvedId:
    """Find the environment that `env_name` means.

    It is an id, an old id, `module:id` or `dm.domain.task`; an id of a well-known package needs no
    module. Raises EnvironmentProblem for an unknown id (naming the nearest three), module or
    observation mode.
    """
    if obs_mode not in OBS_MODES:
        raise EnvironmentProblem(
            f"Unknown observation mode {obs_mode!r}: choose one of {', '.join(OBS_MODES)}."
        )
    prefix, _, name = env_name.rpartition(":")
    modules = tuple(dict.fromkeys((*env_modules, *([prefix] if prefix else []))))
    registered = load_registry(modules)
    alias = find_alias(name, registered=registered) or Alias(dm_control_id(name) or name)
    package = package_of(alias.id)
    if package and (alias.id not in registered or package.module in sys.modules):
        # Other processes need the module, too, where this one has imported it already.
        modules = tuple(dict.fromkeys((*modules, package.module)))
        registered = load_registry(modules)
        if alias.id not in registered:
            load_registry(package.needs)
    if alias.id not in registered:
        raise EnvironmentProblem(_unknown(name, registered))
    spec, chosen_kwargs = registered[alias.id], dict(env_kwargs or {})
    family = family_of(spec)
    if family == "atari":
        return _resolve_atari(env_name, alias, spec, chosen_kwargs, obs_mode, modules)
    if obs_mode != "auto":
        raise EnvironmentProblem(
            f"{env_name} is not an Atari game: leave the observation mode {obs_mode} out."
        )
    kwargs = {**alias.kwargs, **chosen_kwargs}
    return ResolvedId(env_name, alias.id, kwargs, family, "vector", alias.note, modules)


def load_registry(modules: Sequence[str] = ()) -> dict[str, Any]:
    """Import `modules` and the Atari games, and return gymnasium's {id: EnvSpec}.

    Raises EnvironmentProblem if a module cannot be imported.
    """
    import ale_py
    import gymnasium

    # Without this, every process would print two lines of banner.
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    for module in modules:
        if module in DRAWING_MODULES:
            from envs.physics import choose_gl

            choose_gl()
        try:
            importlib.import_module(module)
        # A user's module may raise anything while it is imported, or leave.
        except (Exception, SystemExit) as error:
            raise EnvironmentProblem(_import_failure(module, error)) from error
    return cast("dict[str, Any]", gymnasium.registry)


def family_of(spec: Any) -> Family:
    """Return the family of a gymnasium EnvSpec, by its entry point."""
    entry_point = str(spec.entry_point)
    for family, words in ENTRY_POINTS.items():
        if any(word in entry_point for word in words):
            return family
    return "control"


def base_frameskip(resolved: ResolvedId) -> int | tuple[int, int]:
    """Return the emulator's own frames per step.

    That is a number, or (low, high), half open, if it is drawn anew for every step.
    """
    default = load_registry(resolved.modules)[resolved.id].kwargs.get("frameskip", 4)
    skip = resolved.kwargs.get("frameskip", default)
    return int(skip) if isinstance(skip, int) else (int(skip[0]), int(skip[1]))


def _resolve_atari(
    env_name: str,
    alias: Alias,
    spec: Any,
    chosen_kwargs: dict[str, Any],
    obs_mode: str,
    modules: tuple[str, ...],
) -> ResolvedId:
    kwargs = {**alias.kwargs, **chosen_kwargs}
    obs_type = kwargs.pop("obs_type", None)
    if obs_type not in (None, "ram"):
        raise EnvironmentProblem(
            f"obs_type={obs_type} cannot be passed on: choose the observation mode instead."
        )
    ram = alias.ram or obs_type == "ram"
    if ram and obs_mode not in ("auto", "ram"):
        raise EnvironmentProblem(
            f"{env_name} asks for RAM observations: "
            f"use observation mode ram or auto, not {obs_mode}."
        )
    observation = _choose_observation(obs_mode, ram=ram, no_frameskip="NoFrameskip" in alias.id)
    skip = kwargs["frameskip"] = _frameskip({**spec.kwargs, **kwargs}["frameskip"])
    if observation in STACKS and skip == 4:
        # The wrapper MaxAndSkip then skips four frames: it needs each of them for their maximum.
        kwargs["frameskip"] = 1
    elif observation not in STACKS and skip == 1 and "frameskip" not in chosen_kwargs:
        kwargs["frameskip"] = 4
    note = alias.note
    if note is None and isinstance(skip, tuple):
        sticky = {**spec.kwargs, **kwargs}["repeat_action_probability"]
        note = f"{env_name}: {describe_emulation(frameskip=skip, sticky=sticky)}"
    return ResolvedId(env_name, alias.id, kwargs, "atari", observation, note, modules)


def _choose_observation(obs_mode: str, *, ram: bool, no_frameskip: bool) -> Observation:
    if ram:
        return "ram"
    if obs_mode != "auto":
        return cast(Observation, obs_mode)
    return "stack84" if no_frameskip else "frame42"


def _frameskip(value: Any) -> int | tuple[int, int]:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    is_pair = (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(bound, int) for bound in value)
    )
    if is_pair and 0 < value[0] < value[1]:
        return value[0], value[1]
    raise EnvironmentProblem(
        f"frameskip={value!r} is not possible: give a positive number or a pair such as (2, 5)."
    )


def _unknown(name: str, registered: Mapping[str, Any]) -> str:
    # Many games have no other id than that of ALE/.
    game = re.sub(r"(-ram)?(NoFrameskip|Deterministic)?-v\d+$", "", name)
    if game != name and f"ALE/{game}-v5" in registered:
        return f"Unknown environment {name}: did you mean ALE/{game}-v5?"
    games = [
        id_.removeprefix("ALE/").removesuffix("-v5")
        for id_ in registered
        if id_.startswith("ALE/") and id_.endswith("-v5")
    ]
    known = (*registered, *(f"{game}Deterministic-v4" for game in games))
    by_lower_case = {id_.lower(): id_ for id_ in known}
    matches = difflib.get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.0)
    nearest = [by_lower_case[id_] for id_ in matches]
    return f"Unknown environment {name}: did you mean {', '.join(nearest[:-1])} or {nearest[-1]}?"


def missing_package(user: str, error: BaseException) -> str | None:
    """Return one sentence if `user` could not be imported or made without another package."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    missing = error.name.partition(".")[0]
    if package := installed_by(missing):
        return f"The package {missing} is not installed: pip install {package}."
    if missing == user.partition(".")[0]:
        return None
    return (
        f"{user} needs the package {missing}, which is not installed{place(error)}: "
        f"pip install {missing}, if that is its name there too."
    )


def _import_failure(module: str, error: BaseException) -> str:
    return missing_package(module, error) or (
        f"The module {module} could not be imported "
        f"({type(error).__name__}{place(error)}: {reason(error)}): check its name and PYTHONPATH."
    )
