"""Records are appended whole, and kept while a disk is full."""

import builtins
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
    assert "no space left" in warnings[0]
    appender.add(b"5\n")  # is not tried at once, because the last failure is too recent
    assert path.read_bytes() == b"x\n1\n3\n"
    appender.flush()
    assert path.read_bytes() == b"x\n1\n3\n4\n5\n"


def test_appender_gives_an_empty_file_its_header() -> None:
    path = Path("a.csv")
    path.write_bytes(b"torn hea")
    Appender(path, Guard(pytest.fail), header="x\n", append=True).add(b"1\n")
    assert path.read_bytes() == b"x\n1\n"
