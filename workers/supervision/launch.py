"""From a command line to a running supervisor; a user's mistake becomes one sentence here.

Most imports are inside functions. A mistake on the command line is then shown before torch is
imported, and the server that forks workers imports torch at the same time as this process.
"""

import contextlib
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING

from workers.invocation import Invocation
from workers.limits import check_file_limit, raise_file_limit
from workers.process import put_working_folder_last, starting_children
from workers.settings.errors import OtherVersion, UsageError
from workers.supervision.child import PRELOADED, get_context
from workers.supervision.command_line import Start, read_command_line, value_of
from workers.supervision.interrupts import Interrupts

if TYPE_CHECKING:
    from workers.records.console import Console
    from workers.records.run_folder import RunFolder
    from workers.records.tracking import Tracker
    from workers.records.writer import Records
    from workers.settings.config import Config
    from workers.settings.models import Spaces
    from workers.supervision.run import Run


def launch(arguments: Sequence[str]) -> int:
    """Train as `arguments` say; return the exit code."""
    interrupts = Interrupts()
    raise_file_limit()
    put_working_folder_last()
    try:
        warm_up(arguments)
    except OSError as problem:
        return _refuse(
            f"cannot start the server that forks workers ({problem}); "
            f"if it is about a socket in {tempfile.gettempdir()}, "
            "set TMPDIR to a folder with a shorter name",
            code=2,
        )
    from envs.ids import EnvironmentProblem
    from workers.records.checkpoint import CheckpointError
    from workers.records.run_folder import RunFolderError
    from workers.records.tracking import TrackingError
    from workers.supervision.wording import words

    try:
        return _train(arguments, interrupts)
    except (UsageError, EnvironmentProblem, TrackingError, RunFolderError) as problem:
        return _refuse(str(problem), code=2)
    except (CheckpointError, OtherVersion) as problem:
        return _refuse(str(problem), code=1)
    except KeyboardInterrupt:  # a second signal before the supervisor has started
        return interrupts.exit_code
    except Exception as problem:
        if "--debug" in arguments:
            raise
        return _refuse(f"{words(problem)} (--debug shows where)", code=1)


def prepare(arguments: Sequence[str], *, interrupted: Callable[[], bool] = lambda: False) -> "Run":
    """Build the run that main.py trains with `arguments`: its folder and its shared memory.

    The errors are those of `read_command_line`, OSError if there is no room in memory, and
    KeyboardInterrupt if the run is `interrupted` while the environment is looked at.
    """
    start = read_command_line(arguments)
    config, environment, resumed = start.line.config, start.line.environment, start.resumed
    check_file_limit(config.num_processes)
    spaces, printed = _look_at(start, get_context(config.start_method), interrupted)

    from workers.records.folder_lock import hold
    from workers.supervision.loading import load_policy
    from workers.supervision.run import Run

    policy, warnings = None, start.warnings
    if resumed is None and config.load is not None:
        policy, warnings = load_policy(config, spaces)
    folder = _new_folder(config) if resumed is None else resumed.folder
    with _discarding(None if resumed else folder):
        return Run(
            config=config,
            environment=environment,
            spaces=spaces,
            folder=folder,
            context=get_context(config.start_method),
            state=None if resumed is None else resumed.state,
            policy=policy,
            lock=hold(folder) if resumed is None else resumed.lock,
            origins=start.line.origins,
            warnings=warnings,
            printed=printed,
        )


def _new_folder(config: "Config") -> "RunFolder":
    from workers.records.run_folder import RunFolder

    return RunFolder.create(
        run_dir=config.run_dir,
        log_dir=config.log_dir,
        env_name=config.env_name,
        algo=config.algo,
        seed=config.seed,
    )


@contextlib.contextmanager
def _discarding(folder: "RunFolder | None") -> Iterator[None]:
    """Delete a new run's folder after an error, which would refuse a second try."""
    try:
        yield
    except BaseException:
        if folder is not None:
            folder.discard()
        raise


def _look_at(
    start: Start, context: BaseContext, interrupted: Callable[[], bool]
) -> "tuple[Spaces, str]":
    """Look at the environment, while this process imports what it needs. EnvironmentProblem.

    Return its spaces, and what it printed meanwhile.
    """
    from workers.supervision.look import Look

    if context.get_start_method() == "forkserver":
        # The server imports it, too, and starts no process before it has.
        import workers.supervision.run
    look = Look(start.line.environment, start.line.config, context)
    import workers.supervision.supervisor  # noqa: F401

    return look.spaces(interrupted=interrupted), look.printed


def warm_up(arguments: Sequence[str]) -> None:
    """Start the server that forks workers, which imports torch while this process does, too.

    OSError if its socket cannot be made. Nothing happens for other start methods.
    """
    method = value_of("--start-method", arguments) or "auto"
    if sys.platform != "linux" or method not in ("auto", "forkserver"):
        return
    if {"-h", "--help", "--version"} & {*arguments}:
        return
    from multiprocessing import forkserver

    get_context(method).set_forkserver_preload(PRELOADED)
    with starting_children():
        forkserver.ensure_running()


def _train(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Prepare the run, start its records and the console, and supervise it."""
    run = prepare(arguments, interrupted=lambda: interrupts.received is not None)

    from workers.records.console import Console
    from workers.supervision.banner import banner
    from workers.supervision.supervisor import Supervisor

    with _discarding(None if run.resumed else run.folder):
        _describe(run, arguments)
        console = Console(stream=sys.stdout)
        records = _records(run, console)
        tracker = _tracker(run, records)
    for warning in run.warnings:
        console.warn(warning)
    console.banner(banner(run))
    code = 1
    try:
        code = Supervisor(run, records=records, console=console, interrupts=interrupts).run()
    finally:
        records.close()
        run.close()
        if tracker is not None:
            tracker.finish(code)
    return code


def _describe(run: "Run", arguments: Sequence[str]) -> None:
    """Write config.json, and append to command.txt."""
    from workers.records.faults import naming

    run.describe()
    with naming(run.folder.command), open(run.folder.command, "a") as file:
        file.write(shlex.join(["python", "main.py", *arguments]) + "\n")


def _records(run: "Run", console: "Console") -> "Records":
    """Start the records, or continue them from the checkpoint; the log gets every printed line."""
    from workers.records.writer import Records

    records = Records(
        run.folder,
        env_id=run.environment.id,
        tensorboard=run.config.tensorboard,
        append=run.resumed,
        warn=console.warn,
    )
    console.also = records.log
    if run.printed:
        records.log(f"{run.environment.id} printed while it was first made:\n{run.printed}")
    if run.resumed:
        records.truncate_after(run.start_steps, run.elapsed)
    return records


def _tracker(run: "Run", records: "Records") -> "Tracker | None":
    """Let Weights & Biases have the metrics, with --track. TrackingError."""
    if not run.config.track:
        return None
    from workers.records.tracking import Tracker

    tracker = Tracker(
        run.folder,
        project=run.config.wandb_project_name,
        entity=run.config.wandb_entity,
        description=run.description(),
    )
    records.also_metrics.append(tracker.metrics)
    return tracker


def _refuse(sentence: str, *, code: int) -> int:
    print(f"{Invocation.here().name}: {sentence}", file=sys.stderr)
    return code
