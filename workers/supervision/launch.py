"""From a command line to a running supervisor; every mistake of the user's ends here, in one sentence."""

import dataclasses
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from workers.process import cores, deaf_children
from workers.settings.config import Config, OtherVersion, saved_config
from workers.settings.flags import CommandLine, UsageError, parse
from workers.supervision.interrupts import Interrupts
from workers.supervision.pool import PRELOADED, get_context

if TYPE_CHECKING:
    from workers.settings.recipes import Spaces

NETWORK = (
    *("network", "recurrent", "hidden_size", "num_layers", "num_shared_layers", "activation"),
    *("auxiliary_heads", "state_dependent_std", "squash_actions"),
)
FIXED_ON_RESUME = (
    *("env_name", "algo", "preset", "obs_mode", "env_kwargs", "run_dir", "load"),
    *("optimizer", "kfac_inverse", "kfac_cold_updates", "value_cold_updates"),
    *NETWORK,
)


def warm_up(arguments: Sequence[str]) -> None:
    """Starts the server that forks workers, so that it imports torch while this process does. OSError if its socket cannot be."""
    method = _value_of("--start-method", arguments) or "auto"
    if (
        sys.platform != "linux"
        or method not in ("auto", "forkserver")
        or {"-h", "--help"} & {*arguments}
    ):
        return
    from multiprocessing import forkserver

    root = str(Path(__file__).absolute().parents[2])
    # The server starts with neither this program's path nor its folder, wherever the user stands.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    get_context(method).set_forkserver_preload(PRELOADED)
    with deaf_children():
        forkserver.ensure_running()


def launch(arguments: Sequence[str]) -> int:
    """Trains as `arguments` say; returns the exit code."""
    interrupts = Interrupts()
    sys.path.append(os.getcwd())  # where people keep environments of their own
    try:
        warm_up(arguments)
    except OSError as problem:
        advice = f"if it is about a socket in {tempfile.gettempdir()}, set TMPDIR to a folder with a shorter name"
        sentence = f"cannot start the server that forks workers ({problem}); {advice}"
        print(f"main.py: {sentence}", file=sys.stderr)
        return 2
    from envs.ids import EnvironmentProblem
    from workers.records.checkpoint import CheckpointError
    from workers.records.run_folder import RunFolderError
    from workers.records.tracking import TrackingError

    try:
        return _train(arguments, interrupts)
    except (UsageError, EnvironmentProblem, TrackingError, RunFolderError) as problem:
        code, sentence = 2, str(problem)
    except (CheckpointError, OtherVersion) as problem:
        code, sentence = 1, str(problem)
    except KeyboardInterrupt:  # a second signal before anything has begun
        return interrupts.exit_code
    except Exception as problem:
        if "--debug" in arguments:
            raise
        code, sentence = 1, f"{problem or type(problem).__name__} (--debug shows where)"
    print(f"main.py: {sentence}", file=sys.stderr)
    return code


def _train(arguments: Sequence[str], interrupts: Interrupts) -> int:
    line, folder, lock, state, warnings = _command_line(arguments)
    config = line.config

    from workers.supervision.run import Run, look_at

    spaces = look_at(line.environment, config)
    policy = None
    if state is None and config.load is not None:
        policy, skipped = _policy_to_begin_with(config, spaces)
        warnings += skipped
    from workers.records.console import Console
    from workers.records.folder_lock import hold
    from workers.records.records import Records
    from workers.records.run_folder import RunFolder, write_json
    from workers.records.tracking import Tracker
    from workers.supervision.supervisor import Supervisor

    folder = folder or RunFolder.create(
        run_dir=config.run_dir,
        log_dir=config.log_dir,
        env_name=config.env_name,
        algo=config.algo,
        seed=config.seed,
    )
    context = get_context(config.start_method)
    run = Run(
        config=config,
        environment=line.environment,
        spaces=spaces,
        folder=folder,
        context=context,
        state=state,
        policy=policy,
    )
    lock = lock or hold(folder)
    write_json(folder.config, run.description() | {"origins": line.origins})
    with open(folder.command, "a") as file:
        file.write(shlex.join(["python", "main.py", *arguments]) + "\n")
    console = Console(stream=sys.stdout)
    records = Records(
        folder,
        env_id=line.environment.id,
        tensorboard=config.tensorboard,
        append=state is not None,
        warn=console.warn,
    )
    console.also = records.log
    if state is not None:
        records.truncate_after(run.start_steps, run.elapsed)
    tracker = None
    if config.track:
        project, entity = config.wandb_project_name, config.wandb_entity
        tracker = Tracker(folder, project=project, entity=entity, description=run.description())
        records.also_metrics.append(tracker.metrics)
    for warning in warnings:
        console.warn(warning)
    console.banner(_banner(run, resumed=state is not None))
    code = 1
    try:
        code = Supervisor(
            run, context=context, records=records, console=console, interrupts=interrupts
        ).run()
    finally:
        records.close()
        lock.close()
        if tracker is not None:
            tracker.finish(code)
    return code


def _command_line(
    arguments: Sequence[str],
) -> tuple[CommandLine, Any, TextIO | None, dict[str, Any] | None, list[str]]:
    """The command line and, with --resume, the folder that it goes on with, its lock, its checkpoint and what was skipped."""
    resume = _value_of("--resume", arguments)
    if resume is None:
        return _with_cores(parse(arguments)), None, None, None, []
    from workers.records import checkpoint
    from workers.records.folder_lock import hold
    from workers.records.run_folder import RunFolder

    folder = RunFolder.open(resume, log_dir=_value_of("--log-dir", arguments) or Config.log_dir)
    lock = hold(
        folder
    )  # first: a run that still goes may be writing the very checkpoints that are looked through
    path, state, warnings = checkpoint.latest(folder.checkpoints)
    saved = saved_config(state)
    line = parse(arguments, resumed=saved)
    for name in FIXED_ON_RESUME:
        if line.origins.get(name) == "flag" and getattr(line.config, name) != saved.get(name):
            raise UsageError(
                f"a resumed run keeps --{name.replace('_', '-')} {saved.get(name)}; leave the flag out"
            )
    checkpoint.set_aside_newer(path)
    return _with_cores(line), folder, lock, state, warnings


def _policy_to_begin_with(config: Config, spaces: "Spaces") -> tuple[dict[str, Any], list[str]]:
    """What --load names, and what was skipped. UsageError if it does not fit the environment or the network."""
    from workers.records import checkpoint
    from workers.records.run_folder import RunFolder
    from workers.snapshot import saved_spaces

    assert config.load is not None
    path, warnings = Path(config.load).expanduser(), list[str]()
    if path.is_file():
        policy = checkpoint.load(path, require_digest=False)
    else:
        _, policy, warnings = checkpoint.latest(
            RunFolder.open(config.load, log_dir=config.log_dir).checkpoints
        )
    saved = Config(**saved_config(policy))
    if saved_spaces(policy) != spaces:
        raise UsageError(
            f"the policy in {config.load!r} is one for {saved.env_name} (--obs-mode {saved.obs_mode}), which has other "
            f"observations or actions than {config.env_name}; leave --load out"
        )
    names = (*NETWORK, "initial_log_std") if saved.state_dependent_std else NETWORK
    differing = [
        _spelled(name, getattr(saved, name))
        for name in names
        if getattr(saved, name) != getattr(config, name)
    ]
    if differing:
        raise UsageError(
            f"the policy in {config.load!r} has a network of its own: say {' '.join(differing)}, or leave --load out"
        )
    return policy, warnings


def _spelled(name: str, value: object) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"no --{flag}" if value is None else f"--{flag} {value}"


def _value_of(name: str, arguments: Sequence[str]) -> str | None:
    """What follows the last `name` on a command line that nobody has parsed yet."""
    value = None
    for i, word in enumerate(arguments):
        if word.startswith(name + "="):
            value = word.partition("=")[2]
        elif word == name and i + 1 < len(arguments):
            value = arguments[i + 1]
    return value


def _with_cores(line: CommandLine) -> CommandLine:
    if line.config.num_processes:
        return line
    return dataclasses.replace(line, config=dataclasses.replace(line.config, num_processes=cores()))


def _banner(run: Any, *, resumed: bool) -> list[tuple[str, str]]:
    from workers.records.provenance import versions

    config, environment, num_cores = run.config, run.environment, cores()
    found = versions()
    shape = "x".join(map(str, run.spaces.observation_shape))
    stops = [f"{config.num_env_steps:,} steps"]
    stops += [f"{config.max_seconds:g} s"] if config.max_seconds is not None else []
    stops += (
        [f"a training return of {config.stop_reward:g}"] if config.stop_reward is not None else []
    )
    core = "" if config.recurrent == "none" else f" + {config.recurrent}{config.hidden_size}"
    rows = [
        (
            config.algo,
            f"torch {found['torch']}, gymnasium {found['gymnasium']}, Python {found['python']}, {num_cores} cores",
        ),
        (
            "env",
            f"{config.env_name}   observations {shape} ({run.spaces.observation})   {run.spaces.num_actions} actions",
        ),
        (
            "model",
            f"{type(run.model.body).__name__}{core}   {run.num_parameters:,} parameters   preset {config.preset}",
        ),
        (
            "learning",
            f"shared {config.optimizer}, lr {config.lr:g}, {config.num_steps} steps x {config.envs_per_process} a segment",
        ),
        (
            "workers",
            f"{config.num_processes}, each with {config.envs_per_process} environment{'s' * (config.envs_per_process > 1)}",
        ),
        (
            "run",
            f"{run.folder.path}{'   (resumed at ' + format(run.start_steps, ',') + ' steps)' if resumed else ''}",
        ),
        ("stops at", " or ".join(stops) + "   (Ctrl-C saves and stops)"),
    ]
    if environment.note:
        rows.insert(2, ("", environment.note))
    if config.num_processes > num_cores:
        better = f"--num-processes {num_cores} --envs-per-process {max(16, config.num_processes // num_cores)}"
        rows.insert(-2, ("", f"more workers than cores: {better} would be faster"))
    return rows
