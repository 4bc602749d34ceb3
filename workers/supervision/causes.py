"""Why a process died, in words: the error of its traceback, and whose line failed."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from envs.reasons import is_library, is_machinery

CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"}
_STACK = re.compile(r"^(?:Current thread .*|Stack) \(most recent call first\):\n", re.M)
_FRAME = re.compile(r'^ *File "(?P<path>.+)", line (?P<line>\d+),? in (?P<function>.+)$', re.M)


@dataclass(frozen=True)
class Frame:
    """A line of a traceback."""

    path: Path
    line: int
    function: str

    def __str__(self) -> str:
        return f"file {self.path}, line {self.line}"


@dataclass(frozen=True)
class Cause:
    """Why a process died.

    `repeats` is the same for two processes that died in the same way. It is None for a kill and for
    a timeout, which say nothing about the way.
    """

    words: str
    repeats: str | None = None
    in_reset: bool = False  # whether an environment could not begin an episode
    own: bool = True  # whether it surely came from inside; anybody may send a signal

    @property
    def is_divergence(self) -> bool:
        """Whether gradients were not finite."""
        return self.words.startswith("FloatingPointError")


def cause_of_error(text: str) -> Cause:
    """Return the cause that a traceback tells: the error, file and line of the code that failed."""
    frames, error = _frames(text), _error(text)
    kind, foreign = error.partition(":")[0], _foreign(frames)
    words = f"{error}, {foreign}" if foreign else error
    where = foreign or (frames[-1] if frames else None)
    return Cause(words, f"{kind} {where}", any(frame.function == "reset" for frame in frames))


def cause_of_exit(code: int | None) -> Cause:
    """Return the cause of a death without a traceback, from the exit code of the process."""
    if code is None or code >= 0:
        words = f"exit code {code} without an error; does its environment call os._exit()?"
        return Cause(words, words)
    name = signal.Signals(-code).name
    if name in CRASHES:
        return Cause(f"killed by {name}, a crash of compiled code", name, own=False)
    return Cause(f"killed by {name}", own=False)


def place_in_dump(text: str) -> str:
    """Return ", file FILE, line N": where faulthandler's last stack is in somebody else's code.

    Return no text if there is no such stack. Those of other threads do not count.
    """
    _, *stacks = _STACK.split(text)
    newest_last = _frames(stacks[-1].partition("\n\n")[0])[::-1] if stacks else []
    foreign = _foreign(newest_last)
    return f", {foreign}" if foreign else ""


def _frames(text: str) -> list[Frame]:
    found = _FRAME.finditer(text)
    return [Frame(Path(match["path"]), int(match["line"]), match["function"]) for match in found]


def _error(text: str) -> str:
    """Return the first line of the last error's message, with the error's type."""
    lines = text.strip().splitlines()
    last = max((i for i, line in enumerate(lines) if line.startswith("  File ")), default=-1)
    return next((line for line in lines[last + 1 :] if line[:1].strip()), lines[-1])


def _foreign(frames: list[Frame]) -> Frame | None:
    """Return the last line of a user's own code, or else the last line of a library."""
    foreign = [
        frame
        for frame in frames
        if not is_machinery(frame.path) and not str(frame.path).startswith("<")
    ]
    own = [frame for frame in foreign if not is_library(frame.path)]
    return next(reversed(own or foreign), None)
