"""The folder of one training run: its name, its paths, and files that change whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

DEFAULT_LOG_DIR = "runs"
LATEST = "latest"

_RETRY_SECONDS = 10.0
_BYTES_HELD = 32 * 2**20


class RunFolderError(Exception):
    """A run folder that cannot be used; the message is one sentence with the fix in it."""


class RunFolder:
    """The paths of one run; every path is fixed, whether or not its file exists yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"  # every setting of the run
        self.command = path / "command.txt"  # the command line that started it
        self.log = path / "log.txt"  # what was printed, and the tracebacks of the workers
        self.metrics_csv = path / "metrics.csv"  # one row of metrics per report
        self.metrics_jsonl = path / "metrics.jsonl"
        self.monitor = (
            path / "0.monitor.csv"
        )  # one row per training episode, as Stable-Baselines3 writes it
        self.evaluations = (
            path / "evaluations.npz"
        )  # all evaluation episodes, as Stable-Baselines3 writes them
        self.tensorboard = path / "tb"  # a folder of event files
        self.checkpoints = path / "checkpoints"  # a folder
        self.best = path / "best.pt"  # the checkpoint with the best evaluation
        self.videos = path / "videos"  # a folder of recorded evaluation episodes
        self.curve = path / "curve.png"  # the learning curve
        self.status = (
            path / "status.json"
        )  # the state of the run in one object, for scripts and schedulers

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
        """Make the folder of a new run, named after it in `log_dir` unless `run_dir` says where; RunFolderError if in use."""
        runs = Path(log_dir).expanduser()
        try:
            path = (
                _claim(Path(run_dir).expanduser())
                if run_dir
                else _claim_named(runs, env_name, algo, seed)
            )
        except OSError as error:
            place = run_dir or log_dir
            raise RunFolderError(
                f"The run folder {place!r} cannot be made ({reason(error)}); pass a writable place with --run-dir."
            ) from error
        _point_latest_to(path, runs)
        return cls(path)

    @classmethod
    def open(cls, path_or_auto: str, *, log_dir: str = DEFAULT_LOG_DIR) -> RunFolder:
        """Find the folder of an earlier run, or the newest one in `log_dir` for "auto"; RunFolderError if none."""
        if path_or_auto == "auto":
            return cls(_newest_run(Path(log_dir).expanduser()))
        path = Path(path_or_auto).expanduser()
        if not path.is_dir():
            raise RunFolderError(
                f"There is no run folder {path_or_auto!r}; pass the folder of an earlier run or 'auto'."
            )
        if not _is_run(path):
            raise RunFolderError(
                f"{path_or_auto!r} is not a run folder (it has no checkpoints/); pass the folder of an earlier run."
            )
        # runs/latest may point elsewhere tomorrow, while this run goes on.
        return cls(_follow(path) if path.is_symlink() else path)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Give a new file that takes the place of `path` if the block succeeds, else vanishes; single writer; OSError."""
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        _sync_directory(path.parent)


def temporary_path(path: Path) -> Path:
    """Name the file beside `path` that this process writes before it takes its place."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_json(path: Path, obj: object, *, durable: bool = True) -> None:
    """Replace `path` by `obj` as strict JSON, NaN and infinity as null; OSError."""
    text = json.dumps(_plain(obj), indent=2, allow_nan=False) + "\n"
    with replacing(path, durable=durable) as file:
        file.write(text.encode())


def reason(error: OSError) -> str:
    """Say in a few words why the system refused."""
    return (error.strerror or str(error)).lower()


class Guard:
    """Lets a block fail to write a file without stopping the training, and says so once for every file."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.warn = warn
        self._told: set[Path] = set()

    @contextlib.contextmanager
    def __call__(self, path: Path) -> Iterator[None]:
        """Turn the OSError of a block that writes `path` into a warning."""
        try:
            yield
        except OSError as error:
            if path not in self._told:
                self._told.add(
                    path
                )  # before the call: the warning may itself be logged to this file
                self.warn(
                    f"{path} could not be kept up ({reason(error)}); training goes on and tries again later."
                )


class Appender:
    """Appends whole records to one file, may hold them back for a while, and keeps them while writing fails."""

    def __init__(
        self, path: Path, guard: Guard, *, header: str = "", append: bool, hold_seconds: float = 0.0
    ) -> None:
        self._path, self._guard, self._header, self._hold_seconds = (
            path,
            guard,
            header.encode(),
            hold_seconds,
        )
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._due = 0.0
        with guard(path):
            if not append:
                path.unlink(missing_ok=True)
            data = path.read_bytes() if path.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                os.truncate(path, whole)  # the torn last line of a killed run
            if not whole:
                self.add(self._header)

    def add(self, record: bytes) -> None:
        """Append a record, now or later; the oldest are lost when very many cannot be written."""
        self._pending.append(record)
        self._pending_bytes += len(record)
        while self._pending_bytes > _BYTES_HELD:
            self._pending_bytes -= len(self._pending.popleft())
        if time.monotonic() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        self._due = time.monotonic() + _RETRY_SECONDS
        with self._guard(self._path):
            if self._pending:
                _append(self._path, b"".join(self._pending))
            self._pending.clear()
            self._pending_bytes = 0
            self._due = time.monotonic() + self._hold_seconds

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Drop the lines below the header that are not wanted."""
        self.flush()
        with self._guard(self._path):
            lines = self._path.read_bytes().splitlines(keepends=True)
            top = self._header.count(b"\n")
            rows = [line for line in lines[top:] if wanted(line.decode(errors="replace"))]
            self._replace(lines[:top] + rows)

    def replace(self, rows: Sequence[bytes]) -> None:
        """Replace the file by the header and these rows."""
        self.flush()
        with self._guard(self._path):
            self._replace([self._header, *rows])

    def _replace(self, lines: Sequence[bytes]) -> None:
        with replacing(self._path) as file:
            file.write(b"".join(lines))


def _append(path: Path, data: bytes) -> None:
    size = path.stat().st_size if path.exists() else 0
    try:
        with open(path, "ab") as file:
            file.write(data)
    except OSError:
        # A full disk takes half a line; the retry must not go on in the middle of it.
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise


def _plain(obj: object) -> object:
    if isinstance(obj, Mapping):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value) for value in obj]
    if obj is None or isinstance(obj, str | bool | int):
        return obj
    if isinstance(obj, float):
        return float(obj) if math.isfinite(obj) else None
    if hasattr(obj, "tolist"):  # numpy's and torch's numbers and arrays, without importing either
        return _plain(obj.tolist())
    return str(obj)


def _claim(path: Path) -> Path:
    """Make `path` a run folder of our own; RunFolderError if it already holds something."""
    if path.exists() and not path.is_dir():
        raise RunFolderError(f"{str(path)!r} is a file; pass a new folder with --run-dir.")
    if path.is_dir() and any(path.iterdir()):
        raise _in_use(path)
    path.mkdir(parents=True, exist_ok=True)
    try:
        # Of two runs that found the folder empty at the same moment, only one can make this.
        (path / "checkpoints").mkdir()
    except FileExistsError:
        raise _in_use(path) from None
    (path / "videos").mkdir()
    return path


def _claim_named(runs: Path, env_name: str, algo: str, seed: int) -> Path:
    runs.mkdir(parents=True, exist_ok=True)
    safe_env = re.sub(r"[^\w.+-]", "-", env_name).strip(".-") or "env"
    base = f"{safe_env}_{algo}_s{seed}_{time.strftime('%Y%m%d-%H%M%S')}"
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
        f"The run folder {str(path)!r} is not empty; pass another --run-dir, or continue that run with --resume."
    )


def _is_run(path: Path) -> bool:
    return (path / "checkpoints").is_dir()


def _newest_run(parent: Path) -> Path:
    latest = parent / LATEST
    if _is_run(latest):
        return _follow(latest) if latest.is_symlink() else latest
    # No link where symlinks need a privilege (Windows): the folders' own times have to do.
    runs = [path for path in parent.iterdir() if _is_run(path)] if parent.is_dir() else []
    if not runs:
        raise RunFolderError(
            f"There is no earlier run under {parent}/; start a new one without --resume."
        )
    return max(runs, key=lambda path: ((path / "checkpoints").stat().st_mtime, path.name))


def _follow(link: Path) -> Path:
    return link.parent / os.readlink(link)


def _point_latest_to(path: Path, runs: Path) -> None:
    """Let `latest` in `runs` point to a new run there; a convenience, so a failure is no error."""
    if path.absolute().parent != runs.absolute():
        return
    link = temporary_path(runs / LATEST)
    with contextlib.suppress(OSError, NotImplementedError):
        link.unlink(missing_ok=True)
        link.symlink_to(path.name, target_is_directory=True)
        os.replace(link, runs / LATEST)


def _sync_directory(directory: Path) -> None:
    # A rename survives a power cut only once its folder is on disk. Windows cannot open folders, nor needs to.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
