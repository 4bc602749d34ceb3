"""Makes environments whose observations are ready for a network."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import sys
import warnings
from typing import Any

import cv2
import gymnasium as gym
import numpy as np

from envs.actions import adapt_actions
from envs.atari import (
    FIELD_ROWS,
    EpisodicLife,
    FireReset,
    Frame42,
    FrameStack4,
    MaxAndSkip,
    NoopReset,
    Warp,
)
from envs.episodes import ClipReward, EpisodeStatistics
from envs.ids import EnvironmentProblem, ResolvedId, base_frameskip, load_registry
from envs.screen import GreyScreen
from envs.vectors import Ram, Vector

STACK_SKIP = 4
NOOP_FRAMES = 30

_SUPPORTED = "Atari games, vectors of numbers, and discrete, dictionary or tuple observations that can be flattened"


def make(
    resolved: ResolvedId,
    *,
    training: bool,
    max_episode_length: int | None = None,
    render: bool = False,
    seed: int | None = None,
) -> gym.Env[Any, Any]:
    """Make the environment: uint8 [1, 42, 42], [4, 42, 42] or [4, 84, 84], float32 [128] (RAM) or [D] observations.

    Training clips Atari rewards and ends stacks' episodes with each life; evaluation plays whole games, raw rewards,
    from random no-op starts where the emulator itself has no randomness.
    `info["episode"]` has the raw return and agent steps of a game, `max_episode_length` (agent steps) truncates it.
    An Atari game's first reset with `seed` is faster. Raises EnvironmentProblem.
    """
    wrap = _wrap_atari if resolved.family == "atari" else _wrap_control
    base = _make_base(resolved, render=render, seed=seed)
    try:
        return wrap(base, resolved, training, max_episode_length)
    except BaseException:
        base.close()
        raise


def check_spaces(env: gym.Env[Any, Any]) -> None:
    """Raise EnvironmentProblem unless the actions are choices or a Box of floating-point numbers."""
    space = env.action_space
    if isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return
    if not isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        raise EnvironmentProblem(
            f"{name} has {type(space).__name__} actions ({space}), which are not supported yet: "
            "choose one with Discrete, MultiDiscrete, MultiBinary or Box actions, such as ALE/Pong-v5 or HalfCheetah-v5."
        )


def frames_per_second(env: gym.Env[Any, Any], resolved: ResolvedId) -> float:
    """The rate at which one rendered frame per agent step plays at natural speed."""
    if resolved.family != "atari":
        return float(env.metadata.get("render_fps") or 30)
    if resolved.stacked and base_frameskip(resolved) == 1:
        return 60.0 / STACK_SKIP
    return 60.0 / _mean_skip(resolved)


def default_gl() -> None:
    """Let MuJoCo render through EGL on a Linux without a display, unless MUJOCO_GL says otherwise."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        os.environ.setdefault("MUJOCO_GL", "egl")


def _mean_skip(resolved: ResolvedId) -> float:
    skip = base_frameskip(resolved)
    return skip if isinstance(skip, int) else (skip[0] + skip[1] - 1) / 2


def _make_base(resolved: ResolvedId, *, render: bool, seed: int | None) -> gym.Env[Any, Any]:
    kwargs: dict[str, Any] = dict(resolved.kwargs)
    if render:
        kwargs["render_mode"] = "rgb_array"
    spec = load_registry(resolved.modules)[resolved.id]
    if resolved.family == "atari":
        spec = dataclasses.replace(spec, entry_point="envs.emulator:Emulator")
        kwargs["seed"] = seed
        kwargs["obs_type"] = (
            "ram"  # the cheapest one: pictures are read from the emulator when they are needed
        )
        cv2.setNumThreads(
            1
        )  # frames this small are slower on several threads, which the other workers need anyway
    else:
        default_gl()
        if "mujoco" in str(spec.entry_point):
            quieten_mujoco()
    try:
        with warnings.catch_warnings():
            # Old ids are told about once, by the resolver's note, not by each process.
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gym.make(spec, disable_env_checker=True, **kwargs)
    except Exception as error:  # a constructor is a stranger's code: anything may come out of it
        raise EnvironmentProblem(_failure(resolved, error)) from error
    if render:
        _render_faster(env)
        _follow(env)
    return env


def _wrap_atari(
    env: gym.Env[Any, Any], resolved: ResolvedId, training: bool, max_episode_length: int | None
) -> gym.Env[Any, Any]:
    emulator: Any = env.unwrapped
    ale = emulator.ale
    stacked, size = resolved.stacked, 84 if resolved.observation == "stack84" else 42
    rows = FIELD_ROWS if size == 42 else slice(None)  # so few pixels had better show the field only
    screen = GreyScreen(ale, grey="luminance" if stacked else "mean", rows=rows)
    skips_here = stacked and base_frameskip(resolved) == 1
    if stacked:
        env = NoopReset(env)
    elif not training and emulator.repeat_action_probability == 0:
        # Nothing in the emulator is random: without this, a greedy policy would play one game over and over.
        env = NoopReset(env, noop_max=max(1, NOOP_FRAMES // math.ceil(_mean_skip(resolved))))
    if skips_here:
        env = MaxAndSkip(env, skip=STACK_SKIP, screen=screen)
    env = _count(env, max_episode_length)
    if stacked:
        if training:
            env = EpisodicLife(env)
        if "FIRE" in env.unwrapped.get_action_meanings():  # type: ignore[attr-defined]
            env = FireReset(env, every_life=not training)
        env = FrameStack4(Warp(env, size=size, screen=None if skips_here else screen))
    else:
        env = Ram(env) if resolved.observation == "ram" else Frame42(env, screen=screen)
    return ClipReward(env, sign=stacked) if training else env


def _wrap_control(
    env: gym.Env[Any, Any], resolved: ResolvedId, training: bool, max_episode_length: int | None
) -> gym.Env[Any, Any]:
    space = env.observation_space
    picture = (
        isinstance(space, gym.spaces.Box) and space.dtype == "uint8" and len(space.shape) in (2, 3)
    )
    if picture or not space.is_np_flattenable:
        raise EnvironmentProblem(
            f"{resolved.id} observes {space}, which is not supported: use {_SUPPORTED}."
        )
    return Vector(_count(adapt_actions(env), max_episode_length))


def _count(env: gym.Env[Any, Any], max_episode_length: int | None) -> gym.Env[Any, Any]:
    if max_episode_length is not None:
        env = gym.wrappers.TimeLimit(env, max_episode_length)
    return EpisodeStatistics(env)


def _failure(resolved: ResolvedId, error: Exception) -> str:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if "flex_vertedge" in reason:
        return f"{resolved.id} does not work with this mujoco: pip install 'mujoco<4'."
    if isinstance(error, gym.error.DependencyNotInstalled):
        return f"{resolved.id} needs more packages: {reason}."
    given = (
        f" with {', '.join(f'{key}={value!r}' for key, value in resolved.kwargs.items())}"
        if resolved.kwargs
        else ""
    )
    return f"{resolved.id} could not be made{given} ({reason}): check its keyword arguments and what it needs installed."


def quieten_mujoco() -> None:
    """Sends MuJoCo's warnings to `logging`; without a handler it drops a MUJOCO_LOG.TXT into the current folder."""
    try:
        import mujoco  # type: ignore[import-untyped]
    except ImportError:
        return  # making the environment will fail, and say what to install
    mujoco.set_mju_user_warning(_log_mujoco_warning)


def _log_mujoco_warning(message: str) -> None:
    level = logging.DEBUG if "deprecated" in message else logging.WARNING
    logging.getLogger(__name__).log(level, "MuJoCo: %s", message)


def _render_faster(env: gym.Env[Any, Any]) -> None:
    quality = getattr(getattr(getattr(env.unwrapped, "model", None), "vis", None), "quality", None)
    if quality is not None:
        quality.shadowsize = quality.offsamples = (
            0  # six to nine times faster where a processor draws
        )


def _follow(env: gym.Env[Any, Any]) -> None:
    """Looks through the model's own moving camera; gymnasium's (1.4) stays where the body was at first."""
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is None:
        return
    import mujoco

    camera = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if camera >= 0:
        renderer.camera_id = camera
