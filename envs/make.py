"""Make environments whose observations are ready for a network."""

from __future__ import annotations

import contextlib
import reprlib
import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from envs.families import FAMILIES
from envs.faults import name_of
from envs.ids import EnvironmentProblem, ResolvedId, load_registry, missing_package
from envs.physics import follow_body, render_faster
from envs.reasons import place, reason
from envs.vectors import describe


def make(
    resolved: ResolvedId,
    *,
    training: bool,
    max_episode_length: int | None = None,
    render: bool = False,
    seed: int | None = None,
) -> gym.Env[Any, Any]:
    """Make the environment; raises EnvironmentProblem.

    Observations: uint8 [1, 42, 42], [4, 42, 42] or [4, 84, 84]; float32 [128] (RAM) or [D].

    In training, Atari rewards are clipped, and the episodes of stacks end with each life.
    In evaluation, games are whole, rewards are raw, and games start with random no-ops if the
    emulator itself has no randomness.

    `envs.episodes.statistics_of(env).take()` returns the raw return and the agent steps of each
    game that has ended. A game is truncated after `max_episode_length` agent steps. The first reset
    of an Atari game is faster if it gets the same `seed`.

    `reset` and `step` raise FaultyNumber (`envs/faults.py`) where the environment gives NaN,
    infinity or a number without a square in float32, and EnvironmentProblem where an observation is
    not what its space promises. All arrays that they return are the caller's own.
    """
    base = _make_base(resolved, render=render, seed=seed)
    wrap = FAMILIES[resolved.family].wrap
    try:
        _check_has_spaces(base, resolved.id)
        return wrap(base, resolved, training, max_episode_length)
    except BaseException:
        with contextlib.suppress(Exception):  # the first problem is the one to tell
            base.close()
        raise


def check_spaces(env: gym.Env[Any, Any]) -> None:
    """Raise EnvironmentProblem unless actions are choices or a Box of floating-point numbers."""
    space = env.action_space
    choices = isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete)
    numbers = isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating)
    if (choices or numbers) and np.prod(space.shape or ()) > 0:
        return
    raise EnvironmentProblem(
        f"{name_of(env)} has {type(space).__name__} actions ({describe(space)}), "
        "which are not supported yet: choose one with Discrete, MultiDiscrete, "
        "MultiBinary or Box actions, such as ALE/Pong-v5 or HalfCheetah-v5."
    )


def frames_per_second(env: gym.Env[Any, Any], resolved: ResolvedId) -> float:
    """Return the rate at which one rendered frame per agent step plays at natural speed."""
    return FAMILIES[resolved.family].frames_per_second(env, resolved)


def _make_base(resolved: ResolvedId, *, render: bool, seed: int | None) -> gym.Env[Any, Any]:
    kwargs: dict[str, Any] = dict(resolved.kwargs)
    if render:
        kwargs["render_mode"] = "rgb_array"
    registered = load_registry(resolved.modules)[resolved.id]
    spec = FAMILIES[resolved.family].prepare(registered, kwargs, seed)
    try:
        with warnings.catch_warnings():
            # The note of `resolve` mentions old ids once; not every process should.
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gym.make(spec, disable_env_checker=True, **kwargs)
    # A constructor of somebody else's may raise anything, or leave.
    except (Exception, SystemExit) as error:
        if render and "render_mode" in str(error):
            raise EnvironmentProblem(
                f"{resolved.id} has no pictures: let its constructor take render_mode."
            ) from error
        raise EnvironmentProblem(_failure(resolved, error)) from error
    if render:
        render_faster(env)
        follow_body(env)
    return env


def _check_has_spaces(env: gym.Env[Any, Any], name: str) -> None:
    for attribute in ("observation_space", "action_space"):
        space = getattr(env, attribute, None)
        if not isinstance(space, gym.Space):
            kind = "no" if space is None else f"a {type(space).__name__} as"
            raise EnvironmentProblem(
                f"{name} has {kind} {attribute}: let its constructor set self.{attribute} "
                "to one of gymnasium.spaces."
            )


def _failure(resolved: ResolvedId, error: BaseException) -> str:
    cause = reason(error)
    if "flex_vertedge" in cause:
        return f"{resolved.id} does not work with this mujoco: pip install 'mujoco<4'."
    if isinstance(error, gym.error.DependencyNotInstalled):
        return f"{resolved.id} needs more packages: {cause}."
    if sentence := missing_package(resolved.id, error):
        return sentence
    values = ", ".join(f"{key}={reprlib.repr(value)}" for key, value in resolved.kwargs.items())
    given = f" with {values}" if values else ""
    return (
        f"{resolved.id} could not be made{given} ({cause}{place(error)}): "
        "check its keyword arguments and what it needs installed."
    )
