"""Atari preprocessing: 42x42 single frames, and stacks of frames with the wrappers that the NoFrameskip ids expect."""

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

FIELD_ROWS = slice(34, 194)  # without the score above and the empty rows below the playing field


def frame42(grey: Frame) -> Frame:
    """uint8 [160, 160] grey playing field -> uint8 [1, 42, 42], both steps bilinear (pytorch-a3c's preprocessing)."""
    # Bilinear resizing is linear, so averaging the channels first changes the rounding only, and costs a third.
    return cv2.resize(cv2.resize(grey, (80, 80)), (42, 42))[None]  # type: ignore[return-value]


def warp(grey: Frame, size: int) -> Frame:
    """uint8 [H, W] grey frame -> uint8 [size, size], averaged over areas (Mnih et al., 2015)."""
    return cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


class Frame42(gym.ObservationWrapper[Any, Any, Any]):
    """Observes `screen()`, the mean-grey rows 34 to 194 of the frame, as uint8 [1, 42, 42] in 0..255."""

    def __init__(self, env: gym.Env[Any, Any], *, screen: Screen) -> None:
        super().__init__(env)
        self._screen = screen
        self.observation_space = gym.spaces.Box(0, 255, (1, 42, 42), np.uint8)

    def observation(self, observation: Any) -> Frame:
        """The emulator's picture now; the environment's own observation is not looked at."""
        return frame42(self._screen())


class NoopReset(gym.Wrapper[Any, Any, Any, Any]):
    """Starts an episode with 1 to `noop_max` steps of doing nothing, for different starts (Mnih et al., 2015)."""

    def __init__(self, env: gym.Env[Any, Any], *, noop_max: int = 30) -> None:
        super().__init__(env)
        self._noop_max = noop_max

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Reset, then wait; an episode that ends meanwhile is started again."""
        observation, info = self.env.reset(**kwargs)
        for _ in range(int(self.np_random.integers(1, self._noop_max + 1))):
            observation, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                observation, info = self.env.reset()
        return observation, info


class MaxAndSkip(gym.Wrapper[Any, Any, Any, Any]):
    """Repeats each action for `skip` frames, sums their rewards and observes the maximum of the last two frames.

    The frames are the observations, or `screen()` where given: it is then read only for the frames that are used.
    """

    def __init__(
        self, env: gym.Env[Any, Any], *, skip: int = 4, screen: Screen | None = None
    ) -> None:
        super().__init__(env)
        self._skip = skip
        self._screen = screen

    def step(self, action: Any) -> Step:
        """`skip` frames, fewer when the episode ends."""
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
        """The first frame alone."""
        observation, info = self.env.reset(**kwargs)
        return (observation if self._screen is None else self._screen()), info


class EpisodicLife(gym.Wrapper[Any, Any, Any, Any]):
    """Reports a lost life as terminated while the game goes on beneath; for training only (Mnih et al., 2015).

    Reads `info["lives"]`. A game that ends inside `reset` leaves its `info["episode"]` in what `reset` returns.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._lives = 0
        self._game_over = True

    def step(self, action: Any) -> Step:
        """One step; terminated when a life was lost."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._game_over = terminated or truncated
        lives = info["lives"]
        # Some games show no life left for a few frames before they are over: those end by themselves.
        life_lost = 0 < lives < self._lives
        self._lives = lives
        return observation, float(reward), terminated or life_lost, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """A new game when the last one is over (or a seed is given), otherwise the next life of the same one."""
        ended: Info = {}
        if not self._game_over and kwargs.get("seed") is None:
            observation, _, terminated, truncated, info = self.env.step(0)
            if terminated or truncated:
                self._game_over, ended = True, info
        else:
            self._game_over = True
        if self._game_over:
            observation, info = self.env.reset(**kwargs)
            self._game_over = False
        self._lives = info["lives"]
        return observation, _with_episode(info, ended)


class FireReset(gym.Wrapper[Any, Any, Any, Any]):
    """Starts every episode by pressing FIRE, then action 2, for games that wait for it (Baselines' opening).

    `every_life` presses them after every lost life too: where a life is not an episode, as in evaluation, a policy
    that was trained with EpisodicLife has never had to press FIRE itself and would wait for ever.
    """

    def __init__(self, env: gym.Env[Any, Any], *, every_life: bool = False) -> None:
        super().__init__(env)
        self._opening = (env.unwrapped.get_action_meanings().index("FIRE"), 2)  # type: ignore[attr-defined]
        self._every_life = every_life
        self._lives = 0

    def step(self, action: Any) -> Step:
        """One step, and the opening where a life was lost; rewards are summed."""
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
        """Reset, then the opening; an episode that ends meanwhile is started again."""
        observation, info = self.env.reset(**kwargs)
        ended: Info = info
        for action in self._opening:
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                ended = info if "episode" in info else ended
                observation, info = self.env.reset()
        self._lives = info.get("lives", 0)
        return observation, _with_episode(info, ended)


class Warp(gym.ObservationWrapper[Any, Any, Any]):
    """uint8 grey frames -> uint8 [size, size]; the frames are the observations, or `screen()` where given."""

    def __init__(self, env: gym.Env[Any, Any], *, size: int, screen: Screen | None = None) -> None:
        super().__init__(env)
        self._screen, self._size = screen, size
        self.observation_space = gym.spaces.Box(0, 255, (size, size), np.uint8)

    def observation(self, observation: Any) -> Frame:
        """The frame now, shrunk."""
        return warp(observation if self._screen is None else self._screen(), self._size)


class FrameStack4(gym.Wrapper[Any, Any, Any, Any]):
    """The last four [H, W] frames as a fresh uint8 [4, H, W], oldest first; the first has three black ones.

    The four values of a pixel lie side by side in memory, as convolutions like them (channels_last).
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = gym.spaces.Box(0, 255, (4, *env.observation_space.shape), np.uint8)  # type: ignore[misc,arg-type]
        self._frames: deque[Frame] = deque(maxlen=4)

    def step(self, action: Any) -> Step:
        """Drop the oldest frame, append the newest."""
        frame, reward, terminated, truncated, info = self.env.step(action)
        self._frames.append(frame)
        return self._stack(), float(reward), terminated, truncated, info

    def reset(self, **kwargs: Any) -> tuple[Any, Info]:
        """Three black frames and the first."""
        frame, info = self.env.reset(**kwargs)
        self._frames.extend(
            (np.zeros_like(frame), np.zeros_like(frame), np.zeros_like(frame), frame)
        )
        return self._stack(), info

    def _stack(self) -> Frame:
        return cv2.merge(tuple(self._frames)).transpose(2, 0, 1)  # type: ignore[return-value]


def _with_episode(info: Info, ended: Info) -> Info:
    return {**info, "episode": ended["episode"]} if "episode" in ended else info
