"""The processes of one start of main.py, as the kernel shows them (Linux)."""

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

TAG = "CHAOS_RUN"


class Process(NamedTuple):
    """A process; another one that gets the same number later has begun at another time."""

    pid: int
    began: int  # clock ticks since boot


class Family:
    """The live processes of one start of main.py, orphans too.

    They are found by their parents and by a tag in their environment. A process that gives itself
    a title overwrites its environment; its parent's death then hides it from both. So everybody
    who has been seen once is remembered.
    """

    def __init__(self, tag: str) -> None:
        self._tag, self._seen = tag, set[Process]()

    def titles(self) -> dict[int, str]:
        """Return the titles by process id."""
        live = live_processes()
        family = {pid for pid, (_, began) in live.items() if Process(pid, began) in self._seen}
        family |= {pid for pid in live if self._is_tagged(pid)}
        while more := {pid for pid, (parent, _) in live.items() if parent in family} - family:
            family |= more
        self._seen |= {Process(pid, live[pid][1]) for pid in family}
        return {pid: title(pid) for pid in sorted(family)}

    def kill(self) -> None:
        """Kill all of them."""
        for pid in self.titles():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _is_tagged(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return f"{TAG}={self._tag}".encode() in words


def live_processes() -> dict[int, tuple[int, int]]:
    """Return parent and beginning, in clock ticks since boot, of all live processes."""
    tables = {entry: _stat(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    return {int(entry.name): stat for entry, stat in tables.items() if stat is not None}


def _stat(entry: Path) -> tuple[int, int] | None:
    """Return parent and beginning of a live process; None for others."""
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else (int(fields[1]), int(fields[19]))


def title(pid: int) -> str:
    """Return what the process calls itself, or its command line; no text if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def descriptors(pid: int) -> int:
    """Return the number of open descriptors of a process; 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def memory_and_threads(pid: int) -> tuple[float, int]:
    """Return the resident memory in MB, and the number of threads; zeros if it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return int(fields.get("VmRSS", "0").split()[0]) / 1024, int(fields["Threads"])
