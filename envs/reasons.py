"""What an exception of somebody else's code says, as a part of one sentence."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_PROGRAM = (_ROOT / "envs", _ROOT / "workers", _ROOT / "main.py", _ROOT / "enjoy.py")
_STANDARD_LIBRARY = Path(os.__file__).parent


def reason(error: BaseException) -> str:
    """Return what went wrong in one line that is never empty, without a full stop.

    A message of one word, such as a KeyError's, is preceded by the error's type.
    """
    text = " ".join(str(error).split()).rstrip(".")
    name = type(error).__name__
    if not text:
        return name
    return text if " " in text else f"{name}: {text}"


def place(error: BaseException) -> str:
    """Return ", file FILE, line N": where somebody else's code failed; no text if none did.

    Code of the user's own is named before that of a library that it called.
    """
    frames = [
        (Path(frame.filename), frame.lineno)
        for frame in reversed(traceback.extract_tb(error.__traceback__))
        if not frame.filename.startswith("<")
    ]
    foreign = [(path, line) for path, line in frames if not is_machinery(path)]
    for path, line in sorted(foreign, key=lambda frame: is_library(frame[0])):
        return f", file {path}, line {line}"
    return ""


def is_machinery(path: Path) -> bool:
    """Return whether every environment is made through this file."""
    libraries = ("gymnasium", "importlib")
    return (is_library(path) and any(name in path.parts for name in libraries)) or any(
        path.is_relative_to(part) for part in _PROGRAM
    )


def is_library(path: Path) -> bool:
    """Return whether it is a file of an installed package or of Python."""
    return "site-packages" in path.parts or path.is_relative_to(_STANDARD_LIBRARY)
