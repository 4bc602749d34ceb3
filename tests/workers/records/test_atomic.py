"""A file is replaced whole or not at all."""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from workers.records.atomic import replacing, write_json, write_json_often


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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


@pytest.mark.parametrize("longer", [True, False])
def test_where_no_new_file_fits_the_old_ones_room_is_written_over(
    monkeypatch: pytest.MonkeyPatch, longer: bool
) -> None:
    path, room = Path("status.json"), 1000

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_json_often(path, {"state": "x" * (1 if longer else room)})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        write_json_often(path, {"state": "interrupted"})
        assert json.loads(path.read_text()) == {"state": "interrupted"}
        with pytest.raises(OSError, match="No space left"):
            write_json_often(Path("new.json"), {})
    assert os.listdir() == ["status.json"]
