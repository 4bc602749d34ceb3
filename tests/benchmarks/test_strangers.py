"""Environments of strangers train right, or are refused in one sentence."""

import os
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest

from benchmarks.strangers.environment import ID
from benchmarks.strangers.runner import Trial, run_trials
from benchmarks.strangers.trial import Outcome, attempt
from benchmarks.strangers.witness import flat
from tests.workers.runs import ROOT, flags
from workers.progress import WorkerRow

forks = pytest.mark.skipif(sys.platform != "linux", reason="trials are forked")


@forks
@pytest.mark.timeout(600)  # forty trials take a while on a busy machine
def test_random_strangers_train_right_or_are_refused():
    command = flags("-m benchmarks.strangers --family random --count 40 --seed 5 --jobs 2")
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 of 40 tried" in done.stdout
    assert "trained" in done.stdout
    assert "refused" in done.stdout


def tried(recipe: str) -> Outcome:
    return attempt(ID, "--env-kwargs", f"recipe={recipe!r}")


def test_a_trial_says_how_it_ended():
    assert tried("Stranger()") == Outcome("trained")
    refused = tried("Stranger(observation='Sequence(Discrete(2))')")
    assert refused.kind == "refused"
    assert "Sequence(Discrete(2)" in refused.text
    assert tried("Stranger(raises='step', raises_from=3)").kind == "its own error"


def test_a_trial_fails_where_anything_is_counted_that_did_not_happen(monkeypatch):
    honest = WorkerRow.episode
    monkeypatch.setattr(
        WorkerRow,
        "episode",
        lambda row, *, return_, **more: honest(row, return_=2 * return_, **more),
    )
    outcome = tried("Stranger()")
    assert outcome.kind == "FAILED"
    assert outcome.text.startswith("recorded [(10.0, 5)")


@forks
def test_a_trial_that_dies_or_hangs_has_failed():
    trials = [
        Trial("good", lambda: Outcome("trained")),
        Trial("dies", lambda: os._exit(7)),
        Trial("hangs", lambda: time.sleep(1000)),
    ]
    ended = {
        trial.name: outcome.text
        for trial, outcome in run_trials(trials, jobs=2, patience=2.0, seconds=60.0)
    }
    assert ended == {
        "good": "",
        "dies": "the process died: exit code 7",
        "hangs": "no end within 2 s",
    }


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(-1, 1, (2, 3)),
        gym.spaces.Discrete(3, start=-1),
        gym.spaces.MultiDiscrete([[2, 3], [4, 1]]),
        gym.spaces.Dict(b=gym.spaces.MultiBinary(2), a=gym.spaces.Discrete(2)),
        gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Box(0, 1, ())]),
    ],
)
def test_the_witness_flattens_as_gymnasium_does(space):
    space.seed(0)
    sample = space.sample()
    np.testing.assert_array_equal(flat(space, sample), gym.spaces.utils.flatten(space, sample))
