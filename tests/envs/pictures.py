"""Environments that can be drawn, that cannot, and one that prints."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from envs.toys import Bandit


class Painted(Bandit):
    """The bandit with a picture of 40x60, redder at every call; `picture` says what is wrong."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, picture: str = "good", render_mode: str | None = None) -> None:
        super().__init__()
        self.picture, self.render_mode, self.drawn = picture, render_mode, 0

    def render(self) -> Any:
        self.drawn += 1
        if self.picture == "raises" or (self.picture == "raises later" and self.drawn > 3):
            raise ValueError("no display")
        if self.picture == "nothing":
            return None
        red = np.full((40, 60, 3), (20 * self.drawn, 0, 0), np.uint8)
        return red / 255 if self.picture == "floats" else red


class Unpainted(Bandit):
    """The bandit, which takes a render_mode and has no render()."""

    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.render_mode = render_mode


class Talks(Bandit):
    """The bandit, which prints: from Python, by the descriptor as C does, and from a process.

    It leaves a thread behind, and `close` prints and fails.
    """

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=time.sleep, args=(600,)).start()

    def close(self) -> None:
        print("closed")
        raise RuntimeError("closed")

    def step(self, action: Any) -> Any:
        print("from Python")
        os.write(1, b"by the descriptor\n")
        subprocess.run(["echo", "from a process"], check=True)
        return super().step(action)


class Breaks(Bandit):
    """The bandit, whose second step fails."""

    def step(self, action: Any) -> Any:
        if self._elapsed == 1:
            raise KeyError("speed")
        return super().step(action)


class Leaves(Bandit):
    """The bandit, whose second step ends the program, which is no success."""

    def step(self, action: Any) -> Any:
        if self._elapsed == 1:
            sys.exit(0)
        return super().step(action)


class Faulty(Bandit):
    """The bandit, whose second step of an episode has no reward: of every `every`-th episode."""

    def __init__(self, every: int = 2) -> None:
        super().__init__()
        self.every, self.episode = every, 0

    def reset(self, **options: Any) -> Any:
        self.episode += 1
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        observation, reward, *others = super().step(action)
        is_faulty = self._elapsed == 2 and self.episode % self.every == 0
        return observation, float("nan") if is_faulty else reward, *others


for _environment in (Painted, Unpainted, Talks, Breaks, Leaves, Faulty):
    if f"{_environment.__name__}-v0" not in gym.registry:
        gym.register(f"{_environment.__name__}-v0", entry_point=_environment)
