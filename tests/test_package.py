"""The package that `pip install .` brings: its commands, from any folder, and `python -m a3c`."""

import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.runs import ROOT, flags
from workers import __version__

ROOMS = ("a3c", "envs", "shared_optim", "workers")
FILES = ("main.py", "enjoy.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
TRAIN = flags("--env-name envs.toys:Bandit-v0 --num-processes 1 --num-env-steps 500")
TRAIN += flags("--eval-interval 0 --video-interval 0 --max-seconds 60")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder of what is installed: bin/ and the modules, without what they depend on."""
    pytest.importorskip("setuptools")
    source, prefix = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    pip += ["--no-build-isolation", "--target", str(prefix), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return prefix


@pytest.fixture
def folder(tmp_path) -> Path:
    """A working folder whose files have the names of modules."""
    for name in ("envs", "workers", "main", "enjoy", "random", "copy"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the working folder')")
    return tmp_path


def shell(line: str, *, folder: Path, installed: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in `folder` as a user of the installed package does."""
    path = os.pathsep.join([str(installed / "bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(installed)}
    return subprocess.run(
        line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=170
    )


def hint(output: str, *, what: str) -> str:
    """Return the command that a run's last lines recommend."""
    (line,) = (line for line in output.splitlines() if line.startswith(what))
    return line.removeprefix(what).strip()


def test_every_folder_of_modules_is_in_the_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    modules = [path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    folders = {".".join(path.relative_to(ROOT).parts) for path in modules}
    assert {*setup["options"]["packages"].split()} == folders


def test_installed_commands_train_and_play_from_any_folder(installed, folder):
    done = shell(f"a3c {' '.join(TRAIN)} --run-dir run", folder=folder, installed=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    play = hint(done.stdout, what="play it:")
    assert play == "a3c-enjoy --run-dir run"
    assert hint(done.stdout, what="go on:") == "a3c --resume run"
    played = shell(f"{play} --episodes 2 --json", folder=folder, installed=installed)
    assert json.loads(played.stdout)["lengths"] == [5, 5], played.stderr


@pytest.mark.parametrize(
    "command",
    ["a3c", "a3c-enjoy", f"{sys.executable} -m a3c", f"{sys.executable} -m a3c enjoy"],
)
def test_every_command_says_its_version_and_how_it_is_used(installed, folder, command):
    version = shell(f"{command} --version", folder=folder, installed=installed)
    assert version.stdout == f"a3c-trainer {__version__}\n", version.stderr
    usage = shell(f"{command} --help", folder=folder, installed=installed)
    assert usage.stdout.startswith(f"usage: {command} [flags]"), usage.stderr
