"""Records are appended whole, and kept while a disk is full."""

import builtins
import errno
import os
import time
from pathlib import Path

import pytest

from workers.records.appender import Appender, Guard


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_appender_cuts_incomplete_lines_and_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    path, warnings = Path("a.csv"), list[str]()
    path.write_bytes(b"x\n1\n2")
    appender = Appender(path, Guard(warnings.append), header="x\n", append=True)
    appender.add(b"3\n")
    assert path.read_bytes() == b"x\n1\n3\n"

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", full)
        appender.add(b"4\n")
        appender.flush()
    assert len(warnings) == 1
    assert "no space left on device); free some space" in warnings[0]
    appender.add(b"5\n")  # is not tried at once, because the last failure is too recent
    assert path.read_bytes() == b"x\n1\n3\n"
    appender.flush()
    assert path.read_bytes() == b"x\n1\n3\n4\n5\n"
    assert warnings[1:] == ["a.csv is kept up again."]
    path.unlink()
    appender.add(b"6\n")
    assert path.read_bytes() == b"x\n6\n"


def test_appender_gives_an_empty_file_its_header() -> None:
    path = Path("a.csv")
    path.write_bytes(b"torn hea")
    Appender(path, Guard(pytest.fail), header="x\n", append=True).add(b"1\n")
    assert path.read_bytes() == b"x\n1\n"


def test_a_fault_is_told_once_again_when_it_changes_and_when_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, lines, path = [1000.0], list[str](), Path("a")
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    guard = Guard(lines.append)

    def attempt(number: int | None) -> str | None:
        """Write with this error; return the line that it makes."""
        before = len(lines)
        with guard(path):
            if number is not None:
                raise OSError(number, os.strerror(number))
        assert len(lines) <= before + 1
        return lines[-1] if len(lines) > before else None

    assert attempt(None) is None
    full = attempt(errno.ENOSPC)
    assert full is not None and "free some space" in full
    assert attempt(errno.ENOSPC) is None
    refused = attempt(errno.EACCES)
    assert refused is not None and "permission denied); give yourself access" in refused
    assert attempt(None) == "a is kept up again."
    for _ in range(100):  # a file that comes and goes says nothing new
        now[0] += 1.0
        assert attempt(errno.ENOSPC) is None and attempt(None) is None
    now[0] += 600.0
    assert attempt(errno.ENOSPC) == full
    assert attempt(None) == "a is kept up again."
