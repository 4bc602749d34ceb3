from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.episodes import statistics_of
from envs.faults import FaultyNumber
from envs.ids import resolve
from envs.make import make
from envs.toys import NaN

Policy = Callable[[list[Any]], int]


def mean_return(name: str, policy: Policy, *, episodes: int = 200) -> float:
    """Return the mean return of `policy`, a function of the episode's observations so far."""
    env = make(resolve(f"envs.toys:{name}"), training=True)
    returns = []
    env.reset(seed=0)
    for _ in range(episodes):
        seen, ended = [env.reset()[0]], False
        while not ended:
            observation, _, terminated, truncated, _ = env.step(policy(seen))
            assert observation in env.observation_space
            seen.append(observation)
            ended = terminated or truncated
        returns += [return_ for return_, _ in statistics_of(env).take()]
    return float(np.mean(returns))


def test_recall_needs_memory() -> None:
    assert mean_return("Recall-v0", lambda seen: int(seen[0][1])) == 1.0
    assert abs(mean_return("Recall-v0", lambda seen: 1)) < 0.2
    env = make(resolve("envs.toys:Recall-v0"), training=True)
    after_cue = set()
    for seed in range(8):
        env.reset(seed=seed)
        after_cue.add(tuple(tuple(env.step(0)[0].tolist()) for _ in range(3)))
    assert after_cue == {((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0))}


def test_bandit_optimum_is_five() -> None:
    assert mean_return("Bandit-v0", lambda seen: int(seen[-1].argmax())) == 5.0
    assert mean_return("Bandit-v0", lambda seen: 0) == pytest.approx(5 / 3, abs=0.3)


def test_corridor_optimum_truncation_and_values() -> None:
    assert mean_return("Corridor-v0", lambda seen: 1, episodes=2) == 1.0
    env = make(resolve("envs.toys:Corridor-v0"), training=True)
    env.reset(seed=0)
    outcomes = [env.step(0)[2:4] for _ in range(20)]
    assert outcomes == [(False, False)] * 19 + [(False, True)]
    env.reset()
    rewards = [float(env.step(1)[1]) for _ in range(5)]
    gamma = 0.9
    values = list(
        itertools.accumulate(
            reversed(rewards), lambda value, reward: reward + gamma * value, initial=0.0
        )
    )[:0:-1]
    assert values == pytest.approx([gamma ** (4 - cell) for cell in range(5)])


def test_faults_on_purpose() -> None:
    crash = make(resolve("envs.toys:Crash-v0", env_kwargs={"p": 1.0}), training=True)
    crash.reset(seed=0)
    with pytest.raises(RuntimeError, match="on purpose"):
        crash.step(0)
    spoilt = make(resolve("envs.toys:NaN-v0", env_kwargs={"p": 1.0}), training=True)
    spoilt.reset(seed=0)
    with pytest.raises(FaultyNumber, match="NaN-v0 gave the reward nan"):
        spoilt.step(0)
    bare = NaN(p=1.0)
    bare.reset(seed=0)
    observation, reward, *_ = bare.step(0)
    assert np.isnan(observation).all()
    assert np.isnan(float(reward))
    for name in ("Crash-v0", "NaN-v0"):
        harmless = make(resolve(f"envs.toys:{name}", env_kwargs={"p": 0.0}), training=True)
        harmless.reset(seed=0)
        assert np.isfinite(harmless.step(0)[0]).all()


def test_hang_hangs_after_n_steps() -> None:
    program = (
        "from envs.toys import Hang\n"
        "env = Hang(n=7)\n"
        "env.reset(seed=0)\n"
        "for step in range(8):\n"
        "    print(step, flush=True)\n"
        "    ended = env.step(0)[2]\n"
        "    ended and env.reset()\n"
    )
    with pytest.raises(subprocess.TimeoutExpired) as expired:
        subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=3, check=False)
    assert (expired.value.stdout or b"").split()[-1] == b"7"


def test_aim_is_hit_by_its_own_point_in_units_of_the_bounds() -> None:
    env = make(resolve("envs.toys:Aim-v0"), training=True)
    for aim, expected in ((1.0, 10.0), (0.0, 10 * (1 - 2 / 3))):  # x² + y² is 2/3 on average
        returns, (observation, _) = [], env.reset(seed=0)
        while len(returns) < 200:
            observation, _, _, truncated, _ = env.step(aim * observation)
            if truncated:
                returns += [return_ for return_, _ in statistics_of(env).take()]
                observation, _ = env.reset()
        assert np.mean(returns) == pytest.approx(expected, abs=0.2)
