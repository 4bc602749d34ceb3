"""Whole episodes of a fixed policy."""

import pytest

from envs.make import make
from tests.workers.runs import flags
from workers.play import play_episodes
from workers.snapshot import restore_policy
from workers.supervision.launch import prepare


@pytest.fixture
def policy(tmp_path):
    """Return an untrained policy of the bandit, and three environments."""
    arguments = flags("--env-name envs.toys:Bandit-v0 --num-processes 1")
    run = prepare([*arguments, "--run-dir", str(tmp_path / "run")])
    model, config, resolved = restore_policy(run.policy_state())
    run.close()
    length = config.max_episode_length
    environments = [make(resolved, training=False, max_episode_length=length) for _ in range(3)]
    return model, environments


@pytest.mark.parametrize("sampled", [False, True])
def test_equal_seeds_give_equal_episodes(policy, sampled):
    model, environments = policy
    first, second = (
        play_episodes(model, environments, seeds=[1, 2, 3], sampled=sampled, steps=7)
        for _ in range(2)
    )
    assert first == second
    assert first.steps == 7
    assert first.lengths == (5, 5, 5)
    assert len(first.returns) == 3
    assert first.mean == pytest.approx(sum(first.returns) / 3)


def test_interrupted_episodes_are_none(policy):
    model, environments = policy
    answers = iter([False, False, True])
    played = play_episodes(
        model,
        environments,
        seeds=[1, 2, 3],
        sampled=False,
        steps=0,
        interrupted=lambda: next(answers),
    )
    assert played is None
