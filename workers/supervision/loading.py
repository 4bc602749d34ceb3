"""The policy that --load names, which a new run starts with."""

from pathlib import Path
from typing import Any

from workers.records import checkpoint
from workers.records.run_folder import RunFolder
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.models import Spaces
from workers.settings.saved import saved_config
from workers.snapshot import saved_spaces
from workers.supervision.command_line import NETWORK


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


def _spelled(name: str, value: object) -> str:
    """Write a setting as a flag."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"no --{flag}" if value is None else f"--{flag} {value}"
