"""What a command line asks for: a new run, or one that is resumed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from workers.process import cores
from workers.settings.config import Config
from workers.settings.errors import UsageError
from workers.settings.flags import CommandLine, parse
from workers.settings.saved import saved_config

if TYPE_CHECKING:
    from workers.records.run_folder import RunFolder

NETWORK = (
    "network",
    "recurrent",
    "hidden_size",
    "num_layers",
    "num_shared_layers",
    "activation",
    "auxiliary_heads",
    "state_dependent_std",
    "squash_actions",
)
FIXED_ON_RESUME = (
    "env_name",
    "algo",
    "preset",
    "obs_mode",
    "env_kwargs",
    "run_dir",
    "load",
    "optimizer",
    "kfac_inverse",
    "kfac_cold_updates",
    "value_cold_updates",
    *NETWORK,
)


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The run that --resume names."""

    folder: "RunFolder"
    lock: TextIO  # of the folder, until it is closed
    state: dict[str, Any]  # its newest good checkpoint


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a run starts: its settings, and what it resumes."""

    line: CommandLine
    resumed: Resumed | None = None
    warnings: list[str] = field(default_factory=list)  # of checkpoints that were skipped


def read_command_line(arguments: Sequence[str]) -> Start:
    """Parse the arguments, and with --resume load the run's newest checkpoint.

    UsageError, EnvironmentProblem, RunFolderError, CheckpointError, OtherVersion.
    """
    resume = value_of("--resume", arguments)
    if resume is None:
        return Start(line=_with_cores(parse(arguments)))
    from workers.records import checkpoint
    from workers.records.folder_lock import hold
    from workers.records.run_folder import RunFolder

    folder = RunFolder.open(resume, log_dir=value_of("--log-dir", arguments) or Config.log_dir)
    # Lock before looking: a live run may be writing the checkpoints.
    lock = hold(folder)
    path, state, warnings = checkpoint.latest(folder.checkpoints)
    line = _resumed_line(arguments, saved_config(state))
    checkpoint.set_aside_newer(path)
    resumed = Resumed(folder=folder, lock=lock, state=state)
    return Start(line=line, resumed=resumed, warnings=warnings)


def value_of(name: str, arguments: Sequence[str]) -> str | None:
    """Return the value of the last flag `name` on a command line that is not parsed yet."""
    value = None
    for i, word in enumerate(arguments):
        if word.startswith(name + "="):
            value = word.partition("=")[2]
        elif word == name and i + 1 < len(arguments):
            value = arguments[i + 1]
    return value


def _resumed_line(arguments: Sequence[str], saved: dict[str, Any]) -> CommandLine:
    """Parse the arguments over the saved settings. UsageError for those that cannot change."""
    line = parse(arguments, resumed=saved)
    for name in FIXED_ON_RESUME:
        if line.origins.get(name) == "flag" and getattr(line.config, name) != saved.get(name):
            raise UsageError(
                f"a resumed run keeps --{name.replace('_', '-')} {saved.get(name)}; "
                "leave the flag out"
            )
    return _with_cores(line)


def _with_cores(line: CommandLine) -> CommandLine:
    """Replace --num-processes 0 by the number of cores."""
    if line.config.num_processes:
        return line
    return dataclasses.replace(line, config=dataclasses.replace(line.config, num_processes=cores()))
