"""Why a process died, in words: the error of its traceback, and whose line failed."""

import re
import signal
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).absolute().parents[2]
OURS = tuple(str(ROOT / name) for name in ("a3c/", "shared_optim/", "envs/", "workers/", "main.py"))
LIBRARIES = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"), "<")
WRAPPERS = ("gymnasium/wrappers", "gymnasium/core.py")
CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"}
_FRAME = re.compile(r'^ *File "(?P<path>.+)", line (?P<line>\d+),? in (?P<function>.+)$', re.M)


@dataclass(frozen=True)
class Frame:
    """A line of a traceback."""

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        where = "while it was imported" if self.function == "<module>" else f"in {self.function}"
        return f"{self.path}:{self.line}, {where}"


@dataclass(frozen=True)
class Cause:
    """Why a process died.

    `repeats` is the same for two processes that died in the same way. It is None where the cause
    came from outside: a kill, or a timeout.
    """

    words: str
    repeats: str | None = None
    in_reset: bool = False  # whether an environment could not begin an episode

    @property
    def is_divergence(self) -> bool:
        """Whether gradients were not finite."""
        return self.words.startswith("FloatingPointError")


def cause_of_error(text: str) -> Cause:
    """Return the cause that a traceback tells: the error, file and line of the code that failed."""
    frames, error = _frames(text), _error(text)
    frame = _blamed(frames)
    if frame is None:
        return Cause(error, error.partition(":")[0])
    in_reset = any(frame.function == "reset" for frame in frames)
    kind = f"{error.partition(':')[0]} {frame}"
    own = frame.path.startswith(OURS) and not frame.path.startswith(OURS[2])
    return Cause(error if own else f"{error} ({frame})", kind, in_reset)


def cause_of_exit(code: int | None) -> Cause:
    """Return the cause of a death without a traceback, from the exit code of the process."""
    if code is None or code >= 0:
        words = f"exit code {code} without an error; does its environment call os._exit()?"
        return Cause(words, words)
    name = signal.Signals(-code).name
    if name in CRASHES:
        return Cause(f"killed by {name}, a crash of compiled code", name)
    return Cause(f"killed by {name}")


def _frames(text: str) -> list[Frame]:
    found = _FRAME.finditer(text)
    return [Frame(match["path"], int(match["line"]), match["function"]) for match in found]


def _error(text: str) -> str:
    """Return the first line of the last error's message, with the error's type."""
    lines = text.strip().splitlines()
    last = max((i for i, line in enumerate(lines) if line.startswith("  File ")), default=-1)
    return next((line for line in lines[last + 1 :] if line[:1].strip()), lines[-1])


def _blamed(frames: list[Frame]) -> Frame | None:
    """Return the last line of a user's own code, or else of a library, or else the last one."""
    foreign = [frame for frame in frames if not frame.path.startswith(OURS)]
    own = [frame for frame in foreign if not any(name in frame.path for name in LIBRARIES)]
    environments = [frame for frame in frames if not any(name in frame.path for name in WRAPPERS)]
    for candidates in (own, environments, frames):
        if candidates:
            return candidates[-1]
    return None
