"""What an environment observes and does."""

import contextlib

import gymnasium

from envs.actions import is_bounded
from envs.ids import EnvironmentProblem, ResolvedId
from envs.make import check_spaces, make
from workers.settings.config import Config
from workers.settings.models import Spaces


def spaces_of(environment: ResolvedId, config: Config) -> Spaces:
    """Make the environment once; return what it observes and does. EnvironmentProblem."""
    env = make(environment, training=True, max_episode_length=config.max_episode_length)
    try:
        return describe(env, environment, config)
    finally:
        with contextlib.suppress(Exception):  # nothing depends on how it ends
            env.close()


def describe(env: gymnasium.Env, environment: ResolvedId, config: Config) -> Spaces:
    """Return what `env` observes and does. EnvironmentProblem if no policy can play it."""
    check_spaces(env)
    spaces = _spaces(env, environment.observation)
    if config.squash_actions and not spaces.bounded:
        raise EnvironmentProblem(
            f"{environment.id} has actions without bounds: leave --squash-actions out."
        )
    return spaces


def _spaces(env: gymnasium.Env, observation: str) -> Spaces:
    assert env.observation_space.shape is not None
    shape, actions = tuple(env.observation_space.shape), env.action_space
    if isinstance(actions, gymnasium.spaces.Box):
        return Spaces(
            shape,
            observation,
            num_actions=actions.shape[0],
            continuous=True,
            bounded=is_bounded(actions),
        )
    if isinstance(actions, gymnasium.spaces.MultiDiscrete):
        choices = tuple(actions.nvec.tolist())
        return Spaces(shape, observation, num_actions=sum(choices), choices=choices)
    assert isinstance(actions, gymnasium.spaces.Discrete)
    return Spaces(shape, observation, num_actions=int(actions.n))
