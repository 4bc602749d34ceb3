"""The folder of one training run: its name, its paths, and how earlier ones are found."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from workers.records.atomic import temporary_path
from workers.records.faults import FULL, fix, reason

DEFAULT_LOG_DIR = "runs"
LATEST = "latest"


class RunFolderError(Exception):
    """A run folder that cannot be used; the message is one sentence with the fix in it."""


class RunFolder:
    """The paths of one run; each is fixed, whether or not its file exists yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / ".lock"  # held by the process that writes here
        self.config = path / "config.json"  # every setting of the run
        self.command = path / "command.txt"  # the command line that started it
        self.log = path / "log.txt"  # printed lines, and the workers' tracebacks
        self.metrics_csv = path / "metrics.csv"  # one row of metrics per report
        self.metrics_jsonl = path / "metrics.jsonl"
        # The next two have the formats of Stable-Baselines3.
        self.monitor = path / "0.monitor.csv"  # one row per training episode
        self.evaluations = path / "evaluations.npz"  # all evaluation episodes
        self.tensorboard = path / "tb"  # a folder of event files
        self.checkpoints = path / "checkpoints"  # a folder
        self.best = path / "best.pt"  # the policy with the best evaluation
        self.videos = path / "videos"  # a folder of recorded evaluation episodes
        self.curve = path / "curve.png"  # the learning curve
        self.status = path / "status.json"  # the run's state as one object, for scripts

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        *,
        run_dir: str | None,
        env_name: str,
        algo: str,
        seed: int,
        log_dir: str = DEFAULT_LOG_DIR,
    ) -> RunFolder:
        """Make the folder of a new run. RunFolderError if it is in use.

        Without `run_dir` its name is made of the run's settings, and it lies in `log_dir`.
        """
        runs = Path(log_dir).expanduser()
        try:
            if run_dir:
                path = _claim(Path(run_dir).expanduser())
            else:
                path = _claim_named(runs, _name(env_name, algo, seed))
        except OSError as error:
            place = run_dir or log_dir
            raise RunFolderError(
                f"The run folder {place!r} cannot be made ({reason(error)}); "
                f"{fix(error)}, or pass another place with --run-dir."
            ) from error
        _point_latest_to(path, runs)
        return cls(path)

    @classmethod
    def open(cls, path_or_auto: str, *, log_dir: str = DEFAULT_LOG_DIR) -> RunFolder:
        """Find the folder of an earlier run; "auto" is the newest in `log_dir`. RunFolderError."""
        if path_or_auto == "auto":
            return cls(_newest_run(Path(log_dir).expanduser()))
        path = Path(path_or_auto).expanduser()
        if not path.is_dir():
            raise RunFolderError(
                f"There is no run folder {path_or_auto!r}; "
                "pass the folder of an earlier run or 'auto'."
            )
        if not _is_run(path):
            raise RunFolderError(
                f"{path_or_auto!r} is not a run folder (it has no checkpoints/); "
                "pass the folder of an earlier run."
            )
        # runs/latest may point to another run while this one continues.
        return cls(_follow(path) if path.is_symlink() else path)

    @property
    def records(self) -> tuple[Path, ...]:
        """The files, without those in folders."""
        return (
            *(self.config, self.command, self.log, self.metrics_csv, self.metrics_jsonl),
            *(self.monitor, self.evaluations, self.best, self.curve, self.status),
        )

    def fault(self) -> str | None:
        """Return the reason why no file can be made in the folder now; None if one can.

        A full disk does not count, because it may have room again.
        """
        probe = temporary_path(self.path / "probe")
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            return None if error.errno in FULL else reason(error)
        return None

    def elsewhere(self, log_dir: str) -> Iterator[RunFolder]:
        """Make new folders for a run whose own folder is lost, one after another.

        They lie beside the lost one, in `log_dir`, and in the system's folder for temporary files.
        """
        name = re.sub(r"-moved(-\d+)?$", "", self.path.name) + "-moved"
        for place in (self.path.parent, Path(log_dir).expanduser(), Path(tempfile.gettempdir())):
            with contextlib.suppress(OSError, RunFolderError):
                path = _claim_named(place, name)
                _point_latest_to(path, Path(log_dir).expanduser())
                yield RunFolder(path)

    def discard(self) -> None:
        """Delete the folder of a run that has not begun, so that a second try finds none.

        Files that are not a run's are kept, and the folder with them.
        """
        for path in (self.lock, *self.records):
            with contextlib.suppress(OSError):
                path.unlink()
        for folder in (self.checkpoints, self.videos, self.tensorboard, self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()
        latest = self.path.parent / LATEST
        with contextlib.suppress(OSError, RunFolderError):
            if os.readlink(latest) == self.path.name:
                latest.unlink()
                _point_latest_to(_newest_run(latest.parent), latest.parent)


def _claim(path: Path) -> Path:
    """Make `path` this run's own folder. RunFolderError if it already contains something."""
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{str(path)!r} is a file; pass a new folder with --run-dir.")
    if path.is_dir() and any(path.iterdir()):
        raise _in_use(path)
    path.mkdir(parents=True, exist_ok=True)
    try:
        # Two runs may find the folder empty at the same moment; only one can make this folder.
        (path / "checkpoints").mkdir()
    except FileExistsError:
        raise _in_use(path) from None
    (path / "videos").mkdir()
    return path


def _safe(name: str) -> str:
    """Return `name` with a dash for whatever a folder's name should not contain."""
    return re.sub(r"[^\w.+-]", "-", name).strip(".-") or "env"


def _name(env_name: str, algo: str, seed: int) -> str:
    return f"{_safe(env_name)}_{_safe(algo)}_s{seed}_{time.strftime('%Y%m%d-%H%M%S')}"


def _claim_named(runs: Path, base: str) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    suffix = 1
    while True:
        path = runs / (base if suffix == 1 else f"{base}-{suffix}")
        try:
            path.mkdir()
        except FileExistsError:
            suffix += 1
        else:
            return _claim(path)


def _in_use(path: Path) -> RunFolderError:
    return RunFolderError(
        f"The run folder {str(path)!r} is not empty; "
        "pass another --run-dir, or continue that run with --resume."
    )


def _is_run(path: Path) -> bool:
    return (path / "checkpoints").is_dir()


def _newest_run(parent: Path) -> Path:
    latest = parent / LATEST
    if _is_run(latest):
        return _follow(latest) if latest.is_symlink() else latest
    # There is no link where symlinks need a privilege (Windows). Compare the folders' times there.
    runs = [path for path in parent.iterdir() if _is_run(path)] if parent.is_dir() else []
    if not runs:
        raise RunFolderError(
            f"There is no earlier run under {parent}/; start a new one without --resume."
        )
    return max(runs, key=lambda path: ((path / "checkpoints").stat().st_mtime, path.name))


def _follow(link: Path) -> Path:
    return link.parent / os.readlink(link)


def _point_latest_to(path: Path, runs: Path) -> None:
    """Let `latest` in `runs` point to a new run there; ignore a failure, it is a convenience."""
    if path.absolute().parent != runs.absolute():
        return
    link = temporary_path(runs / LATEST)
    with contextlib.suppress(OSError, NotImplementedError):
        link.unlink(missing_ok=True)
        link.symlink_to(path.name, target_is_directory=True)
        os.replace(link, runs / LATEST)
