"""The example's claim holds for the installed torch, and the example needs nothing else."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "wrong_gradient.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_clearing_the_shared_side_sums_all_gradients_so_far(example):
    assert example["TRUE_GRADIENTS"] == [1.0, 2.0, 3.0, 4.0]
    assert example["received"]("shared") == [1.0, 3.0, 6.0, 10.0]


def test_clearing_the_local_side_keeps_the_first_gradient_for_ever(example):
    assert example["received"]("local") == [1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("cleared", ["shared", "local"])
def test_filling_with_zeros_was_right(example, cleared):
    assert example["received"](cleared, set_to_none=False) == example["TRUE_GRADIENTS"]


def test_it_runs_by_itself_and_says_which_are_wrong(tmp_path):
    finished = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = finished.stdout.splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["right", "right", "WRONG", "WRONG"]
    assert finished.stderr == ""


def test_it_imports_torch_alone():
    tree = ast.parse(EXAMPLE.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import torch"]
