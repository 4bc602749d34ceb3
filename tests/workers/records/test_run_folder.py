"""A run folder belongs to one run, and its files change whole or not at all."""

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest

from workers.records import run_folder
from workers.records.run_folder import (
    Appender,
    Guard,
    RunFolder,
    RunFolderError,
    replacing,
    write_json,
)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def create(run_dir: str | None = None, env_name: str = "ALE/Pong-v5") -> RunFolder:
    return RunFolder.create(run_dir=run_dir, env_name=env_name, algo="a3c", seed=1)


def test_default_name_and_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: "20260102-030405")
    first, second, third = create(), create(), create()
    assert first.path == Path("runs/ALE-Pong-v5_a3c_s1_20260102-030405")
    assert second.path.name == first.path.name + "-2"
    assert third.path.name == first.path.name + "-3"
    assert os.readlink("runs/latest") == third.path.name
    assert RunFolder.open("auto").path == third.path
    assert RunFolder.open("runs/latest").path == third.path
    assert first.checkpoints.is_dir()
    assert first.videos.is_dir()


@pytest.mark.parametrize("env_name", ["../../etc", "package.module:Env-v0", "a b", "/", ".."])
def test_no_env_name_escapes_the_folder(env_name: str) -> None:
    assert create(env_name=env_name).path.parent == Path("runs")
    assert [path.name for path in Path().iterdir()] == ["runs"]


def test_given_folder() -> None:
    folder = create("deep/er/mine")
    assert folder.path == Path("deep/er/mine")
    assert not Path("runs").exists()
    assert RunFolder.open("deep/er/mine").path == folder.path
    assert (folder.monitor.name, folder.tensorboard.name, folder.best.name) == (
        "0.monitor.csv",
        "tb",
        "best.pt",
    )


def test_empty_folder_is_taken_and_used_one_refused() -> None:
    Path("mine").mkdir()
    create("mine")
    with pytest.raises(RunFolderError, match=r"not empty.*--resume"):
        create("mine")


def test_file_or_unwritable_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(RunFolderError, match="--run-dir"):
            create(place)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    for run_dir in ("mine", None):
        with pytest.raises(RunFolderError, match=r"permission denied.*--run-dir"):
            create(run_dir)


def test_open_without_a_run() -> None:
    with pytest.raises(RunFolderError, match="no earlier run"):
        RunFolder.open("auto")
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder.open("absent")
    Path("other").mkdir()
    with pytest.raises(RunFolderError, match="not a run folder"):
        RunFolder.open("other")


def test_auto_without_symlinks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("symbolic links need a privilege")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    create("runs/old")
    os.utime("runs/old/checkpoints", (1, 1))
    newest = create()
    assert not Path("runs/latest").exists()
    assert RunFolder.open("auto").path == newest.path


def test_write_json_is_strict_and_atomic() -> None:
    path = Path("a.json")
    write_json(
        path,
        {
            "nan": math.nan,
            "inf": [math.inf, 1.5],
            "mean": np.float64(2),
            "n": np.int64(3),
            "p": Path("x"),
        },
    )
    before = path.read_text()
    assert json.loads(before) == {"nan": None, "inf": [None, 1.5], "mean": 2.0, "n": 3, "p": "x"}
    with pytest.raises(TypeError), replacing(path) as file:
        file.write(b"half" + None)  # type: ignore[operator]
    assert path.read_text() == before
    assert os.listdir() == ["a.json"]


def test_appender_cuts_torn_lines_and_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    path, warnings = Path("a.csv"), list[str]()
    path.write_bytes(b"x\n1\n2")
    appender = Appender(path, Guard(warnings.append), header="x\n", append=True)
    appender.add(b"3\n")
    assert path.read_bytes() == b"x\n1\n3\n"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "_append", full)
        appender.add(b"4\n")
        appender.flush()
    assert len(warnings) == 1
    assert "no space left" in warnings[0]
    appender.add(b"5\n")  # not tried at once: the last failure is too recent
    assert path.read_bytes() == b"x\n1\n3\n"
    appender.flush()
    assert path.read_bytes() == b"x\n1\n3\n4\n5\n"


def test_appender_gives_an_empty_file_its_header() -> None:
    path = Path("a.csv")
    path.write_bytes(b"torn hea")
    Appender(path, Guard(pytest.fail), header="x\n", append=True).add(b"1\n")
    assert path.read_bytes() == b"x\n1\n"
