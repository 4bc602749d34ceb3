"""A run folder belongs to one run."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from workers.records.folder_lock import hold, is_held
from workers.records.run_folder import RunFolder, RunFolderError


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
    assert folder.monitor.name == "0.monitor.csv"
    assert folder.tensorboard.name == "tb"
    assert folder.best.name == "best.pt"


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


def test_a_run_that_does_not_begin_leaves_nothing_and_latest_is_the_one_before() -> None:
    first = create()
    second = create()
    second.discard()
    assert not second.path.exists()
    assert RunFolder.open("auto").path == first.path
    assert os.readlink("runs/latest") == first.path.name
    third = create()
    (third.path / "mine.txt").touch()
    third.discard()
    assert [path.name for path in third.path.iterdir()] == ["mine.txt"]


def test_a_lost_folder_has_others_beside_it_in_log_dir_and_in_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    folder = create("place/run")
    assert folder.fault() is None
    for path in (folder.checkpoints, folder.videos, folder.path):
        path.rmdir()
    assert folder.fault() == "no such file or directory"
    names = [str(other.path) for other in folder.elsewhere("runs")]
    assert names == ["place/run-moved", "runs/run-moved", f"{temporary}/run-moved"]
    again = RunFolder(Path("place/run-moved"))
    assert str(next(again.elsewhere("runs")).path) == "place/run-moved-2"
    Path("place").rename("gone")
    Path("place").touch()
    assert str(next(folder.elsewhere("runs")).path) == "runs/run-moved-2"


def test_a_lock_is_held_until_its_folder_is_made_anew() -> None:
    folder = create("mine")
    with hold(folder) as lock:
        assert is_held(folder, lock)
        folder.lock.unlink()
        assert not is_held(folder, lock)
        with hold(folder) as other:
            assert not is_held(folder, lock)
            assert is_held(folder, other)
