"""Environments of strangers train right, or are refused in one sentence."""

import subprocess
import sys

import pytest

from tests.workers.runs import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="trials are forked")
def test_random_strangers_train_right_or_are_refused():
    command = [
        "-m",
        "benchmarks.strangers",
        "--family",
        "random",
        "--count",
        "40",
        "--seed",
        "5",
        "--jobs",
        "2",
    ]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 of 40 tried" in done.stdout
    assert "trained" in done.stdout
    assert "refused" in done.stdout
