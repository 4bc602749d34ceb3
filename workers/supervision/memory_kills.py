"""Whether the kernel has killed a process because memory ran out."""

import re
from collections.abc import Callable
from pathlib import Path

VMSTAT = Path("/proc/vmstat")
CGROUPS = [Path("/sys/fs/cgroup", name) for name in ("", "memory", "unified")]
FILES = ("memory.events", "memory.oom_control")
_COUNT = re.compile(r"^oom_kill (\d+)$", re.M)


def count_kills() -> int:
    """Return how many processes the kernel has killed for memory; 0 where it does not say so.

    It is the sum of the machine's number and the numbers of this process's control groups.
    """
    # In a container the group's own folder may be the root of what is mounted.
    groups = {"", *_control_groups()}
    folders = [mount / group for mount in CGROUPS for group in groups]
    return sum(map(_count, (VMSTAT, *(folder / name for folder in folders for name in FILES))))


class MemoryKills:
    """Compares the kernel's count at two moments."""

    def __init__(self, count: Callable[[], int] = count_kills) -> None:
        self._count = count
        self._seen = count()

    def happened(self) -> bool:
        """Return whether the kernel has killed a process for memory since the last call."""
        before, self._seen = self._seen, self._count()
        return self._seen > before


def _count(path: Path) -> int:
    try:
        found = _COUNT.search(path.read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _control_groups() -> list[str]:
    """Return the paths of this process's control groups, relative to where they are mounted."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = [line.split(":", 2) for line in lines]
    return [path.strip("/") for _, kinds, path in groups if kinds == "" or "memory" in kinds]
