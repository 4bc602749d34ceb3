"""The origin of a result: versions, commit, machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path


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
    """Return this checkout's commit, with a + if files have changed since; None without git."""
    folder = str(Path(__file__).parent)
    command = ["git", "-C", folder, "describe", "--always", "--dirty=+", "--abbrev=10"]
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
