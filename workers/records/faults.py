"""Errors of the system in plain words: the reason, and what the user can do about it."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)  # there may be room again later
_FIXES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there, its quota is used up",
    errno.EROFS: "make it writable",
    errno.EACCES: "give yourself access to it",
    errno.EPERM: "give yourself access to it",
    errno.ENOENT: "make the folder that it lies in",
    errno.ENOTDIR: "choose a place below a folder",
    errno.EISDIR: "move the folder of that name away",
    errno.ENAMETOOLONG: "choose a shorter name",
}
# Limits of a process: errors, the limit's name in `resource`, and how a shell raises it.
_LIMITS = {
    errno.EMFILE: ("RLIMIT_NOFILE", "open files", "ulimit -n 4096"),
    errno.EFBIG: ("RLIMIT_FSIZE", "bytes in a file", "ulimit -f unlimited"),
}


def reason(error: OSError) -> str:
    """Return the system's reason for an error, in a few words."""
    return error.strerror.lower() if error.strerror else str(error)


def fix(error: OSError) -> str:
    """Return what the user can do about an error; with a limit, how high it is."""
    if error.errno in _LIMITS:
        name, what, command = _LIMITS[error.errno]
        return f"raise the limit of {_soft_limit(name)}{what} first ({command})"
    return _FIXES.get(error.errno or 0, "check the place, or choose another one")


def sentence(error: OSError) -> str:
    """Return the file that an error is about, the reason and the fix."""
    if error.errno is None:  # our own words, with the fix in them
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{reason(error)}; {fix(error)}"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the system's errors in the block name `path`; those of a write name no file."""
    try:
        yield
    except OSError as error:
        if error.errno:
            error.filename = str(path)
        raise


def _soft_limit(name: str) -> str:
    if sys.platform == "win32":
        return ""
    import resource

    soft, _ = resource.getrlimit(getattr(resource, name))
    return "" if soft == resource.RLIM_INFINITY else f"{soft} "
