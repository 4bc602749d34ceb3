"""How each family of environments is made: one row a family in `FAMILIES`, at the end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

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
from envs.ids import EnvironmentProblem, Family, ResolvedId, base_frameskip
from envs.physics import default_gl, quieten_mujoco
from envs.screen import GreyScreen
from envs.vectors import LONGEST, Ram, Vector, describe, has_fixed_size, picture_in

STACK_SKIP = 4
NOOP_FRAMES = 30

_SUPPORTED = (
    "Atari games, vectors of numbers, and discrete, dictionary or tuple observations "
    "that can be flattened"
)


class FamilyFunctions(NamedTuple):
    """What `make` needs to know about a family of environments."""

    # (spec, keyword arguments to change in place, seed) -> the spec that gymnasium makes
    prepare: Callable[[EnvSpec, dict[str, Any], int | None], EnvSpec]
    # (bare environment, resolved id, training, max_episode_length) -> the wrapped environment
    wrap: Callable[[gym.Env[Any, Any], ResolvedId, bool, int | None], gym.Env[Any, Any]]
    # (environment, resolved id) -> frames per second of agent steps
    frames_per_second: Callable[[gym.Env[Any, Any], ResolvedId], float]


def _prepare_atari(spec: EnvSpec, kwargs: dict[str, Any], seed: int | None) -> EnvSpec:
    kwargs["seed"] = seed
    # RAM is the cheapest observation: pictures are read from the emulator when they are needed.
    kwargs["obs_type"] = "ram"
    # Frames this small are slower on several threads, and the other workers need the cores.
    cv2.setNumThreads(1)
    return dataclasses.replace(spec, entry_point="envs.emulator:Emulator")


def _wrap_atari(
    env: gym.Env[Any, Any], resolved: ResolvedId, training: bool, max_episode_length: int | None
) -> gym.Env[Any, Any]:
    wrap = _wrap_stack if resolved.stacked else _wrap_single
    env = wrap(env, resolved, training, max_episode_length)
    return ClipReward(env, sign=resolved.stacked) if training else env


def _wrap_single(
    env: gym.Env[Any, Any], resolved: ResolvedId, training: bool, max_episode_length: int | None
) -> gym.Env[Any, Any]:
    """Observe single frames of 42x42, or RAM."""
    emulator: Any = env.unwrapped
    if not training and emulator.repeat_action_probability == 0:
        # Nothing in the emulator is random. The most probable actions then lead through other games
        # from other starts, but not in every game: Pong's points fall at the same frames.
        env = NoopReset(env, noop_max=max(1, NOOP_FRAMES // math.ceil(_mean_skip(resolved))))
    env = _count(env, max_episode_length)
    if resolved.observation == "ram":
        return Ram(env)
    return Frame42(env, screen=GreyScreen(emulator.ale, grey="mean", rows=FIELD_ROWS))


def _wrap_stack(
    env: gym.Env[Any, Any], resolved: ResolvedId, training: bool, max_episode_length: int | None
) -> gym.Env[Any, Any]:
    """Observe stacks of four frames, with the wrappers that the NoFrameskip ids expect."""
    emulator: Any = env.unwrapped
    # 42x42 pixels are too few to show more than the playing field.
    size, rows = (84, slice(None)) if resolved.observation == "stack84" else (42, FIELD_ROWS)
    screen = GreyScreen(emulator.ale, grey="luminance", rows=rows)
    skips_here = base_frameskip(resolved) == 1
    env = NoopReset(env)
    if skips_here:
        env = MaxAndSkip(env, skip=STACK_SKIP, screen=screen)
    env = _count(env, max_episode_length)
    if training:
        env = EpisodicLife(env)
    if "FIRE" in emulator.get_action_meanings():
        env = FireReset(env, every_life=not training)
    return FrameStack4(Warp(env, size=size, screen=None if skips_here else screen))


def _atari_frames_per_second(env: gym.Env[Any, Any], resolved: ResolvedId) -> float:
    if resolved.stacked and base_frameskip(resolved) == 1:
        return 60.0 / STACK_SKIP
    return 60.0 / _mean_skip(resolved)


def _mean_skip(resolved: ResolvedId) -> float:
    skip = base_frameskip(resolved)
    return skip if isinstance(skip, int) else (skip[0] + skip[1] - 1) / 2


def _prepare_control(spec: EnvSpec, kwargs: dict[str, Any], seed: int | None) -> EnvSpec:
    default_gl()
    if "mujoco" in str(spec.entry_point):
        quieten_mujoco()
    return spec


def _wrap_control(
    env: gym.Env[Any, Any], resolved: ResolvedId, training: bool, max_episode_length: int | None
) -> gym.Env[Any, Any]:
    _check_observations(env.observation_space, resolved.id)
    return Vector(_count(adapt_actions(env), max_episode_length))


def _check_observations(space: gym.Space[Any], name: str) -> None:
    """Raise EnvironmentProblem unless observations can be flattened into a vector to learn from."""
    bytes_ = isinstance(space, gym.spaces.Box) and space.dtype == "uint8"
    picture = space if bytes_ and len(space.shape or ()) in (2, 3) else picture_in(space)
    if not has_fixed_size(space):
        problem = f"{describe(space)}, which is not supported: use {_SUPPORTED}"
    elif picture is not None:
        problem = (
            f"a picture, {describe(picture)}, which is not supported: use {_SUPPORTED}; a small "
            "picture is a vector after gymnasium.wrappers.FlattenObservation"
        )
    elif (size := gym.spaces.utils.flatdim(space)) > LONGEST:
        problem = f"{size:,} numbers at once, which is not supported: use at most {LONGEST:,}"
    else:
        return
    raise EnvironmentProblem(f"{name} observes {problem}.")


def _control_frames_per_second(env: gym.Env[Any, Any], resolved: ResolvedId) -> float:
    return float(env.metadata.get("render_fps") or 30)


def _count(env: gym.Env[Any, Any], max_episode_length: int | None) -> gym.Env[Any, Any]:
    if max_episode_length is not None:
        env = gym.wrappers.TimeLimit(env, max_episode_length)
    return EpisodeStatistics(env)


_ATARI = FamilyFunctions(_prepare_atari, _wrap_atari, _atari_frames_per_second)
_CONTROL = FamilyFunctions(_prepare_control, _wrap_control, _control_frames_per_second)

# One row a family; `envs.ids.ENTRY_POINTS` says which environments belong to it.
FAMILIES: dict[Family, FamilyFunctions] = {
    "atari": _ATARI,
    "physics": _CONTROL,
    "control": _CONTROL,
}
