"""A saved policy in a new run (--load), or in another environment (enjoy.py)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envs.ids import EnvironmentProblem, ResolvedId, resolve
from workers.records import checkpoint
from workers.records.run_folder import RunFolder
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.models import Spaces
from workers.settings.pairs import parse_pairs
from workers.settings.saved import saved_config
from workers.snapshot import saved_spaces
from workers.supervision.command_line import NETWORK
from workers.supervision.spaces import spaces_of


def load_policy(config: Config, spaces: Spaces) -> tuple[dict[str, Any], list[str]]:
    """Return the policy's state, and a warning for each checkpoint that was skipped.

    UsageError if it does not fit the environment or the network.
    """
    assert config.load is not None
    path, warnings = Path(config.load).expanduser(), list[str]()
    if path.is_file():
        state = checkpoint.load(path, require_digest=False)
    else:
        folder = RunFolder.open(config.load, log_dir=config.log_dir)
        _, state, warnings = checkpoint.latest(folder.checkpoints)
    saved = Config(**saved_config(state))
    if saved_spaces(state) != spaces:
        raise UsageError(
            f"the policy in {config.load!r} is one for {saved.env_name} "
            f"(--obs-mode {saved.obs_mode}), which has other observations or actions "
            f"than {config.env_name}; leave --load out"
        )
    names = (*NETWORK, "initial_log_std") if saved.state_dependent_std else NETWORK
    differing = [name for name in names if getattr(saved, name) != getattr(config, name)]
    if differing:
        flags = " ".join(_spelled(name, getattr(saved, name)) for name in differing)
        raise UsageError(
            f"the policy in {config.load!r} has a network of its own: "
            f"say {flags}, or leave --load out"
        )
    return state, warnings


def environment_for(
    state: dict[str, Any], env_name: str | None, env_kwargs: Sequence[str]
) -> ResolvedId:
    """Return the environment for a saved policy, None: its own, with other arguments.

    UsageError if there is none, or if it has other observations or actions than the policy.
    """
    config = Config(**saved_config(state))
    name = env_name or config.env_name
    own = config.env_kwargs if name == config.env_name else ()
    try:
        found = _resolve(name, (*own, *env_kwargs), config, ResolvedId(**state["environment"]))
        spaces = spaces_of(found, config)
    except EnvironmentProblem as problem:
        raise UsageError(str(problem)) from None
    saved = saved_spaces(state)
    if spaces != saved:
        raise UsageError(
            f"the policy of {config.env_name} cannot play {name}: it knows "
            f"{_in_words(saved)}, and {name} has {_in_words(spaces)}; "
            "choose an environment with the same"
        )
    return found


def _resolve(
    name: str, env_kwargs: Sequence[str], config: Config, trained: ResolvedId
) -> ResolvedId:
    def resolved(obs_mode: str) -> ResolvedId:
        return resolve(
            name,
            env_kwargs=parse_pairs(env_kwargs),
            obs_mode=obs_mode,
            env_modules=config.env_module,
        )

    found = resolved("auto")
    # A policy of games sees another game as it has seen its own, unless one of them is in RAM.
    games = found.family == trained.family == "atari"
    pictures = games and "ram" not in (found.observation, trained.observation)
    return resolved(trained.observation) if pictures else found


def _in_words(spaces: Spaces) -> str:
    size = "x".join(map(str, spaces.observation_shape))
    if not spaces.continuous:
        actions = f"{spaces.num_actions} choices"
        if spaces.choices:
            actions = f"choices among {', '.join(map(str, spaces.choices))}"
    else:
        actions = f"{spaces.num_actions} numbers {'with' if spaces.bounded else 'without'} bounds"
    return f"observations {size} ({spaces.observation}) and actions of {actions}"


def _spelled(name: str, value: object) -> str:
    """Write a setting as a flag."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"no --{flag}" if value is None else f"--{flag} {value}"
