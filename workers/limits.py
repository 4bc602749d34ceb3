"""The limit of open files: raised as far as it may be, and compared with what a run needs."""

import contextlib
import sys

from workers.settings.errors import UsageError

_MANY = 10_240  # macOS allows no more
_OF_THE_RUN, _OF_A_WORKER = 36, 3  # files that the main process has open


def raise_file_limit() -> None:
    """Raise this process's limit of open files as far as it may; its children inherit that."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(hard, _MANY)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def check_file_limit(num_workers: int) -> None:
    """Refuse more workers than the limit of open files allows. UsageError."""
    if sys.platform == "win32":
        return
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OF_THE_RUN + _OF_A_WORKER * num_workers
    if soft not in (resource.RLIM_INFINITY, -1) and soft < needed:
        most = (soft - _OF_THE_RUN) // _OF_A_WORKER
        fewer = f", or use --num-processes {most}" if most > 0 else ""
        raise UsageError(
            f"--num-processes {num_workers} needs {needed} open files and the system's limit here "
            f"is {soft}; raise it (ulimit -n 4096, as root or in /etc/security/limits.conf){fewer}"
        )
