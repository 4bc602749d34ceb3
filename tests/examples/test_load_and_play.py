"""The example plays a run's best policy, as a user starts it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"return (-?[\d.]+) in (\d+) steps, value at first (-?[\d.]+)")


def python(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder in which main.py has trained, with an environment of the user's own."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "mine.py").write_text(
        "import gymnasium\n"
        "from envs.toys import Bandit\n"
        "gymnasium.register('Mine-v0', entry_point=Bandit)\n"
    )
    words = "--env-name mine:Mine-v0 --num-processes 2 --num-env-steps 20000 --video-interval 0"
    trained = python(folder, str(ROOT / "main.py"), *words.split(), "--lr", "2e-3")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    return folder


@pytest.mark.parametrize("arguments", [[], ["runs/latest"]])
def test_it_prints_returns_and_values(folder, arguments):
    played = python(folder, str(ROOT / "examples" / "load_and_play.py"), *arguments)
    assert (played.returncode, played.stderr) == (0, "")
    lines = [LINE.fullmatch(line) for line in played.stdout.splitlines()]
    assert len(lines) == 3
    for line in lines:
        return_, length, value = (float(number) for number in line.groups())
        assert (return_, length) == (5.0, 5.0)  # the best there is
        assert value > 0


def test_a_folder_that_is_no_run_is_named_in_one_sentence(folder):
    played = python(folder, str(ROOT / "examples" / "load_and_play.py"), "nowhere")
    assert played.returncode == 1
    assert played.stderr.startswith("load_and_play.py: There is no run folder 'nowhere'")
    assert played.stderr.count("\n") == 1
