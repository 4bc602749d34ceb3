"""An environment that is made, and misbehaves, as a recipe says."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from benchmarks.strangers.witness import watched

ID = f"{__name__}:Stranger-v0"


class Misbehaviour(RuntimeError):
    """An error of the environment's own."""


class Riddle(gym.Space[Any]):
    """A space of somebody else's, which answers none of gymnasium's questions."""

    def __init__(self) -> None:
        super().__init__(shape=(), dtype=str)

    def sample(self, *arguments: Any, **options: Any) -> str:
        """Return a question."""
        return "why?"

    def contains(self, x: Any) -> bool:
        """Return whether it is text."""
        return isinstance(x, str)


class OwnBox(spaces.Box):
    """A subclass of Box."""


class OwnDiscrete(spaces.Discrete):
    """A subclass of Discrete."""


@dataclass(frozen=True)
class Stranger:
    """A recipe; its repr can be pasted. Texts are Python expressions unless they are choices."""

    observation: str = "Box(-1, 1, (3,), np.float32)"
    action: str = "Discrete(2)"
    length: int = 5  # steps of an episode; 0: it never ends by itself
    truncates: bool = False
    reward: str = "1.0"
    flag: str = "bool"  # what makes `terminated` and `truncated`
    info: str = "{}"  # made anew for each step, unless it is kept
    keeps_info: bool = False
    reset: str = "new"  # "new", "old" (only the observation), "none"
    step: str = "new"  # "new", "old" (four values), "none"
    spoils: str = ""  # an expression of what an observation x becomes
    spoils_from: int = 0  # from this call of reset or step on
    raises: str = ""  # "constructor", "reset", "step", "close", "render"
    error: str = "Misbehaviour('on purpose')"
    raises_from: int = 0  # from this call of that method on
    reuses_buffer: bool = False
    random: str = "own"  # "own", "numpy", "python", "space"
    keeps: str = "None"  # an attribute
    render: str = "picture"  # "picture", "none", "missing", "text"
    render_modes: str = "['rgb_array']"
    prints: bool = False
    sleeps: float = 0.0
    threads: bool = False
    other_space: str = ""  # after the first reset


def made(expression: str) -> Any:
    """Return the value of a recipe's expression."""
    names = {**vars(spaces), **globals(), "inf": np.inf, "nan": np.nan}
    return eval(expression, names)  # of text that the strategies, or the user, wrote


@functools.cache
def stranger_of(recipe: str) -> Stranger:
    """Return the recipe of a text."""
    stranger: Stranger = made(recipe)
    return stranger


class Strange(gym.Env[Any, Any]):
    """The environment of a recipe."""

    def __init__(self, recipe: str = "Stranger()", render_mode: str | None = None) -> None:
        self._recipe = recipe  # the recipe itself would be an attribute that cannot be saved
        self._calls = {"constructor": 0, "reset": 0, "step": 0, "close": 0, "render": 0, "see": 0}
        self._enter("constructor")
        stranger = stranger_of(recipe)
        self.metadata = {"render_modes": made(stranger.render_modes), "render_fps": 30}
        self.render_mode = render_mode
        if stranger.observation:
            self.observation_space = made(stranger.observation)
        if stranger.action:
            self.action_space = made(stranger.action)
        self._kept = made(stranger.keeps)
        self._info = made(stranger.info)
        self._buffer: Any = None
        self._elapsed = 0
        if stranger.threads:
            threading.Thread(target=threading.Event().wait).start()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin an episode."""
        self._enter("reset")
        super().reset(seed=seed)
        self._elapsed = 0
        if stranger_of(self._recipe).other_space and self._calls["reset"] > 1:
            self.observation_space = made(stranger_of(self._recipe).other_space)
        observation = self._see()
        return {"new": (observation, self._tell()), "old": observation, "none": None}[
            stranger_of(self._recipe).reset
        ]

    def step(self, action: Any) -> Any:
        """Step."""
        self._enter("step")
        stranger = stranger_of(self._recipe)
        self._elapsed += 1
        if callable(self._kept):  # what it keeps matters
            self._kept()
        if stranger.sleeps:
            time.sleep(stranger.sleeps)
        flag, over = made(stranger.flag), self._elapsed == stranger.length
        observation, reward, info = self._see(), made(stranger.reward), self._tell()
        terminated, truncated = over and not stranger.truncates, over and stranger.truncates
        return {
            "new": (observation, reward, flag(terminated), flag(truncated), info),
            "old": (observation, reward, flag(over), info),
            "none": None,
        }[stranger.step]

    def render(self) -> Any:
        """Draw."""
        self._enter("render")
        choices = {"picture": np.zeros((48, 64, 3), np.uint8), "none": None, "text": "a picture"}
        if stranger_of(self._recipe).render == "missing":
            return super().render()
        return choices[stranger_of(self._recipe).render]

    def close(self) -> None:
        """Close."""
        self._enter("close")

    def _enter(self, method: str) -> None:
        self._calls[method] += 1
        stranger = stranger_of(self._recipe)
        if stranger.prints:
            print(f"the stranger's {method}")
            os.write(2, f"the stranger's {method}\n".encode())
        if stranger.raises == method and self._calls[method] > stranger.raises_from:
            raise made(stranger.error)

    def _tell(self) -> Any:
        return (
            self._info
            if stranger_of(self._recipe).keeps_info
            else made(stranger_of(self._recipe).info)
        )

    def _see(self) -> Any:
        """Return the next observation."""
        stranger, space = stranger_of(self._recipe), self.observation_space
        self._calls["see"] += 1
        match stranger.random:
            case "own":
                space.seed(int(self.np_random.integers(2**31)))
            case "numpy":
                space.seed(np.random.randint(2**31 - 1))  # noqa: NPY002 - as old code does
            case "python":
                space.seed(random.randrange(2**31))
        x = space.sample()
        if stranger.spoils and self._calls["see"] > stranger.spoils_from:
            x = eval(stranger.spoils, {"x": x, "np": np, "self": self})
        if stranger.reuses_buffer and isinstance(x, np.ndarray):
            if self._buffer is None:
                self._buffer = x
            self._buffer[...] = x
            x = self._buffer
        return x


if "Stranger-v0" not in gym.registry:
    gym.register("Stranger-v0", entry_point=f"{__name__}:Strange")
    gym.registry["Stranger-v0"] = watched(gym.registry["Stranger-v0"])
