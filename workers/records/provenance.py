"""The origin of a result: versions, commit, machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).absolute().parents[2]


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import gymnasium
    import numpy
    import torch

    return {
        "python": sys.version.split()[0],
        "torch": str(torch.__version__),
        "gymnasium": gymnasium.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
    }


def git_commit() -> str | None:
    """Return this checkout's commit, with a + if files have changed since; None without git.

    An installed package may lie inside somebody else's checkout, whose commit says nothing.
    """
    if not (_ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty=+", "--abbrev=10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def machine() -> str:
    """Return the machine in a few words."""
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}"
    )
