"""enjoy.py plays what main.py saved."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.workers.runs import ROOT, flags
from workers.records import checkpoint
from workers.supervision.launch import prepare

TOY = "envs.toys:Bandit-v0"


def enjoy(folder: Path, *arguments: str) -> Any:
    """Play three episodes in `folder`; return the JSON object that is printed."""
    command = [sys.executable, str(ROOT / "enjoy.py"), "--episodes", "3", "--json", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_enjoy_plays_what_main_saved(tmp_path):
    train = [sys.executable, str(ROOT / "main.py"), "--env-name", TOY]
    train += flags("--num-processes 2 --stop-reward 4.7 --lr 2e-3 --max-seconds 45")
    train += flags("--video-interval 0")
    done = subprocess.run(
        train, cwd=tmp_path, check=True, timeout=90, capture_output=True, text=True
    )
    hint = next(line for line in done.stdout.splitlines() if line.startswith("play it: "))
    words = shlex.split(hint.removeprefix("play it: "))
    command = [*words, *flags("--episodes 3 --json")]
    played = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert json.loads(played.stdout)["returns"] == [5.0, 5.0, 5.0]
    for result in (
        enjoy(tmp_path, "--run-dir", "runs/latest"),
        enjoy(tmp_path, "--load-dir", "trained_models/a3c", "--env-name", TOY),
    ):
        assert list(result) == ["returns", "mean", "std", "lengths"]
        assert result["returns"] == [5.0, 5.0, 5.0]
        assert result["lengths"] == [5, 5, 5]
        assert (result["mean"], result["std"]) == (5.0, 0.0)


def test_enjoy_plays_a_policy_as_it_was_evaluated(tmp_path):
    returns = {}
    for sampled, words in ((False, []), (True, ["--eval-sampled"])):
        folder = tmp_path / str(sampled)
        where = ["--run-dir", str(folder / "run"), "--save-dir", str(folder)]
        run = prepare(["--env-name", TOY, "--num-processes", "1", *where, *words])
        run.policy_path.parent.mkdir()
        checkpoint.save(run.policy_path, run.policy_state(), with_digest=False)
        run.close()
        load = flags(f"--load-dir {folder}/a3c --env-name {TOY} --episodes 20")
        for choice in ([], ["--det" if sampled else "--non-det"]):
            returns[sampled, *choice] = enjoy(tmp_path, *load, *choice)["returns"]
    # Both are one untrained policy.
    assert returns[False,] == returns[True, "--det"]
    assert returns[True,] == returns[False, "--non-det"]
    assert returns[False,] != returns[True,]


def test_enjoy_names_what_is_missing(tmp_path):
    command = [sys.executable, str(ROOT / "enjoy.py")]
    command += flags("--load-dir nowhere --env-name Pong-v0")
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "nowhere" in result.stderr
    assert "Traceback" not in result.stderr
