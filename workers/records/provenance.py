"""Where a result comes from: versions, commit, machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
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
    """The commit of this checkout, with a + if it was changed since; None without git."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty=+",
        "--abbrev=10",
    ]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def machine() -> str:
    """The machine in a few words."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"
