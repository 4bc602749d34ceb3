"""Atari preprocessing: single frames of 42x42, and stacks of four frames.

Stacks use the wrappers that the NoFrameskip ids expect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import cv2
import gymnasium as gym
import numpy as np

from envs.screen import Frame

Info = dict[str, Any]
Step = tuple[Any, float, bool, bool, Info]
Screen = Callable[[], Frame]

# The playing field, without the score above it and the empty rows below it.
FIELD_ROWS = slice(34, 194)


def frame42(grey: Frame) -> Frame:
    """Shrink a grey playing field, uint8 [160, 160], to uint8 [1, 42, 42].

    Both steps, to 80x80 and to 42x42, are bilinear, as in pytorch-a3c.
    """
    # pytorch-a3c averages the colour channels after resizing. Averaging them first changes only
    # the rounding, because bilinear resizing is linear, and takes a third of the time.
    return cv2.resize(cv2.resize(grey, (80, 80)), (42, 42))[None]  # type: ignore[return-value]


def warp(grey: Frame, size: int) -> Frame:
    """Shrink a grey frame, uint8 [H, W], to uint8 [size, size] by averaging areas.

    Source: Mnih et al. (2015).
    """
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


class Frame42(gym.ObservationWrapper[Any, Any, Any]):
    """Observe `screen()`, rows 34 to 194 of the frame in mean grey, as uint8 [1, 42, 42].

    The values lie in 0..255.
    """

    def __init__(self, env: gym.Env[Any, Any], *, screen: Screen) -> None:
        super().__init__(env)
        self._screen = screen
        self.observation_space = gym.spaces.Box(0, 255, (1, 42, 42), np.uint8)

    def observation(self, observation: Any) -> Frame:
        """Return the emulator's current picture; ignore the environment's own observation."""
        return frame42(self._screen())


class NoopReset(gym.Wrapper[Any, Any, Any, Any]):
    """Start each episode with 1 to `noop_max` no-op steps, so that starts differ.

    Source: Mnih et al. (2015).
    """

    def __init__(self, env: gym.Env[Any, Any], *, noop_max: int = 30) -> None:
        super().__init__(env)
        self._noop_max = noop_max

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Reset, then wait; reset again if the episode ends meanwhile."""
        observation, info = self.env.reset(**kwargs)
        for _ in range(int(self.np_random.integers(1, self._noop_max + 1))):
            observation, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                observation, info = self.env.reset()
        return observation, info


class MaxAndSkip(gym.Wrapper[Any, Any, Any, Any]):
    """Repeat each action for `skip` frames, and sum their rewards.

    The observation is the maximum of the last two frames. Frames are the environment's
    observations, or `screen()` if it is given. `screen` is read only for the frames in use.
    """

    def __init__(
        self, env: gym.Env[Any, Any], *, skip: int = 4, screen: Screen | None = None
    ) -> None:
        super().__init__(env)
        self._skip = skip
        self._screen = screen

    def step(self, action: Any) -> Step:
        """Play `skip` frames, or fewer if the episode ends."""
        screen, total, previous = self._screen, 0.0, None
        for remaining in range(self._skip - 1, -1, -1):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            ended = terminated or truncated
            if remaining > 1 and not ended and screen is not None:
                continue
            frame = observation if screen is None else screen()
            if remaining == 0 or ended:
                break
            previous = frame
        latest_two = frame if previous is None else np.maximum(previous, frame)
        return latest_two, total, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Return the first frame alone."""
        observation, info = self.env.reset(**kwargs)
        return (observation if self._screen is None else self._screen()), info


class EpisodicLife(gym.Wrapper[Any, Any, Any, Any]):
    """Report a lost life as `terminated` while the game itself goes on; for training only.

    Reads `info["lives"]`. A game may also end inside `reset`. Source: Mnih et al. (2015).
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._lives = 0
        self._game_over = True

    def step(self, action: Any) -> Step:
        """Step; `terminated` is true if a life was lost."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._game_over = terminated or truncated
        lives = info["lives"]
        # Some games show 0 lives for a few frames before they are over. They end by themselves.
        life_lost = 0 < lives < self._lives
        self._lives = lives
        return observation, float(reward), terminated or life_lost, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Start a new game if the last one is over or a seed is given, else the next life."""
        if not self._game_over and kwargs.get("seed") is None:
            observation, _, terminated, truncated, info = self.env.step(0)
            self._game_over = terminated or truncated
        else:
            self._game_over = True
        if self._game_over:
            observation, info = self.env.reset(**kwargs)
            self._game_over = False
        self._lives = info["lives"]
        return observation, info


class FireReset(gym.Wrapper[Any, Any, Any, Any]):
    """Start every episode with FIRE, then action 2, for games that wait for FIRE.

    OpenAI's Baselines open games so. With `every_life` the two actions follow every lost life
    too. Evaluation needs that, because there a life is not an episode: a policy trained with
    EpisodicLife has never had to press FIRE itself and would wait for ever.
    """

    def __init__(self, env: gym.Env[Any, Any], *, every_life: bool = False) -> None:
        super().__init__(env)
        meanings: list[str] = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        self._opening = (meanings.index("FIRE"), 2)
        self._every_life = every_life
        self._lives = 0

    def step(self, action: Any) -> Step:
        """Step, then play the opening if a life was lost; sum the rewards."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not self._every_life:
            return observation, float(reward), terminated, truncated, info
        total, lives = float(reward), info["lives"]
        if 0 < lives < self._lives:
            for opening in self._opening:
                if terminated or truncated:
                    break
                observation, reward, terminated, truncated, info = self.env.step(opening)
                total += float(reward)
        self._lives = lives
        return observation, total, terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Reset, then play the opening; reset again if the episode ends meanwhile."""
        observation, info = self.env.reset(**kwargs)
        for action in self._opening:
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset()
        self._lives = info.get("lives", 0)
        return observation, info


class Warp(gym.ObservationWrapper[Any, Any, Any]):
    """Shrink grey frames to uint8 [size, size].

    Frames are the environment's observations, or `screen()` if it is given.
    """

    def __init__(self, env: gym.Env[Any, Any], *, size: int, screen: Screen | None = None) -> None:
        super().__init__(env)
        self._screen = screen
        self._size = size
        self.observation_space = gym.spaces.Box(0, 255, (size, size), np.uint8)

    def observation(self, observation: Any) -> Frame:
        """Return the current frame, shrunk."""
        frame = observation if self._screen is None else self._screen()
        return warp(frame, self._size)


class FrameStack4(gym.Wrapper[Any, Any, Any, Any]):
    """Observe the last four [H, W] frames as a fresh uint8 [4, H, W], oldest first.

    An episode's first observation has three black frames. The four values of a pixel lie side by
    side in memory (channels_last), which is the layout that the convolutions want.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        height, width = env.observation_space.shape  # type: ignore[misc]
        self.observation_space = gym.spaces.Box(0, 255, (4, height, width), np.uint8)
        self._frames: deque[Frame] = deque(maxlen=4)

    def step(self, action: Any) -> Step:
        """Drop the oldest frame, append the newest."""
        frame, reward, terminated, truncated, info = self.env.step(action)
        self._frames.append(frame)
        return self._stack(), float(reward), terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Return three black frames and the first one."""
        frame, info = self.env.reset(**kwargs)
        self._frames.extend(np.zeros_like(frame) for _ in range(3))
        self._frames.append(frame)
        return self._stack(), info

    def _stack(self) -> Frame:
        return cv2.merge(tuple(self._frames)).transpose(2, 0, 1)  # type: ignore[return-value]
