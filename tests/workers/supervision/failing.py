"""An environment that fails when it is told to."""

import ctypes
import os
import time
from typing import Any

import gymnasium

from envs.toys import Bandit

DEEDS = {
    "raise": lambda: {}["no such robot"],
    "leave": lambda: os._exit(0),
    "crash": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(1000),
}


class Failing(Bandit):
    """A Bandit that does a deed at the nth time when it is made, reset or stepped."""

    def __init__(self, deed: str, when: str, n: int) -> None:
        super().__init__()
        self.deed, self.when, self.left = deed, when, n
        self.now("make")

    def now(self, when: str) -> None:
        """Do the deed if it is time."""
        self.left -= when == self.when
        if self.left == 0:
            DEEDS[self.deed]()

    def reset(self, **how: Any) -> Any:
        self.now("reset")
        return super().reset(**how)

    def step(self, action: Any) -> Any:
        self.now("step")
        return super().step(action)


gymnasium.register("Failing-v0", entry_point="tests.workers.supervision.failing:Failing")
