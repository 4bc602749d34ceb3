"""What an exception says in one sentence."""

import runpy
from pathlib import Path

import pytest

from envs.reasons import place, reason


class Silent(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Silent(), "Silent"),
        (Silent(" \n"), "Silent"),
        (AssertionError(), "AssertionError"),
        (NotImplementedError(), "NotImplementedError"),
        (KeyError("mission"), "KeyError: 'mission'"),
        (ValueError("two\n  lines."), "two lines"),
    ],
)
def test_a_reason_is_one_line_that_is_never_empty(error, expected):
    assert reason(error) == expected


@pytest.mark.parametrize(
    "line", ["raise RuntimeError", "import json; json.loads('{')", "import numpy; numpy.zeros(-1)"]
)
def test_the_place_is_that_of_the_users_own_code(tmp_path: Path, line):
    path = tmp_path / "mine.py"
    path.write_text("\n\n" + line)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of three types
        runpy.run_path(str(path))
    assert place(caught.value) == f", file {path}, line 3"


def test_without_anybody_elses_code_there_is_no_place():
    assert place(Silent()) == ""
