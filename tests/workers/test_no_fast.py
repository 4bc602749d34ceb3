"""a3c/fast/ only makes the program faster: without it everything trains, to the same numbers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workers.records import checkpoint

ROOT = Path(__file__).parents[2]
BANDIT = (
    *("--env-name", "envs.toys:Bandit-v0", "--num-processes", "2", "--num-env-steps", "400"),
    *("--eval-interval", "0", "--eval-episodes", "1", "--video-interval", "0", "--save-dir", ""),
)


def train(tree: Path, run: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(tree / "main.py"), *BANDIT, "--run-dir", str(run), *words],
        cwd=run.parent,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the program without the folder."""
    tree = tmp_path_factory.mktemp("program")
    shutil.copy(ROOT / "main.py", tree)
    for room in ("a3c", "envs", "shared_optim", "workers"):
        shutil.copytree(ROOT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(tree / "a3c" / "fast")
    return tree


@pytest.mark.parametrize(
    "words",
    [
        ["--algo", "a3c", "--recurrent", "lstm"],
        ["--algo", "a2c", "--recurrent", "gru"],
        ["--algo", "ppo", "--num-mini-batch", "4"],
        ["--algo", "acktr", "--kfac-cold-updates", "2"],
    ],
    ids=["a3c", "a2c", "ppo", "acktr"],
)
def test_every_algorithm_trains_without_the_folder(tree, tmp_path, words):
    trained = train(tree, tmp_path / "run", *words, "--no-fast")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    _, state, warnings = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert state["steps"] >= 400
    assert warnings == []


@pytest.mark.parametrize("algo", ["a2c", "ppo"])
def test_without_the_folder_one_sentence_names_the_flag(tree, tmp_path, algo):
    failed = train(tree, tmp_path / "run", "--algo", algo)
    assert failed.returncode == 2
    assert failed.stderr.startswith("main.py: ")
    assert "--no-fast" in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--algo", "a2c", "--recurrent", "lstm"],
        ["--algo", "ppo", "--num-mini-batch", "4"],
    ],
    ids=["a2c", "ppo"],
)
def test_with_and_without_it_a_run_learns_the_same(tmp_path, words):
    learned = {}
    for name, more in (("fast", []), ("plain", ["--no-fast"])):
        trained = train(ROOT, tmp_path / name, *words, *more, "--num-env-steps", "200")
        assert trained.returncode == 0, trained.stdout + trained.stderr
        _, learned[name], _ = checkpoint.latest(tmp_path / name / "checkpoints")
    assert learned["fast"]["config"]["fast"]
    assert not learned["plain"]["config"]["fast"]
    assert learned["fast"]["steps"] == learned["plain"]["steps"] >= 200
    torch.testing.assert_close(
        learned["fast"]["parameters"], learned["plain"]["parameters"], rtol=1e-4, atol=1e-5
    )
