"""The camera: an environment that is watched, in a window or on video."""

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from envs.ids import EnvironmentProblem, ResolvedId
from envs.make import frames_per_second, make
from envs.reasons import place, reason
from envs.video import VideoWriter
from workers.play import Frame

WIDTH = 320  # narrower pictures are enlarged


class Camera:
    """Makes the environment with or without pictures, and films or shows it."""

    def __init__(self, resolved: ResolvedId, *, max_episode_length: int) -> None:
        self._resolved, self._max_episode_length = resolved, max_episode_length
        self._environments: dict[bool, Any] = {}
        self._window_is_open = False

    def environment(self, *, pictures: bool) -> Any:
        """Return the environment for evaluation; make it at the first call. EnvironmentProblem."""
        if pictures not in self._environments:
            with warnings.catch_warnings():
                # gymnasium warns of environments that cannot be drawn; whoever draws says it, too.
                warnings.filterwarnings("ignore", ".*render_mode", UserWarning)
                self._environments[pictures] = make(
                    self._resolved,
                    training=False,
                    max_episode_length=self._max_episode_length,
                    render=pictures,
                )
        return self._environments[pictures]

    @property
    def name(self) -> str:
        """The environment's name, as the user has typed it."""
        return self._resolved.requested

    @property
    def frames_per_second(self) -> float:
        """The environment's natural speed."""
        return frames_per_second(self._environments[True], self._resolved)

    def film(self, path: Path) -> VideoWriter:
        """Start a video of the environment with pictures, which must have been reset once."""
        picture = picture_of(self._environments[True])
        return VideoWriter(path, fps=self.frames_per_second, scale=_enlargement(picture))

    def close(self) -> None:
        """Close the environments; what fails in them then does not matter any more."""
        while self._environments:
            with contextlib.suppress(Exception):
                self._environments.popitem()[1].close()

    def show(self, frame: Frame) -> None:
        """Show a picture in a window, at natural speed."""
        import cv2

        title = self._resolved.requested
        if not self._window_is_open:
            cv2.namedWindow(title, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
            self._window_is_open = True
        scale = 2 * _enlargement(frame)
        large = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        cv2.imshow(title, cv2.cvtColor(large, cv2.COLOR_RGB2BGR))
        cv2.waitKey(max(1, round(1000 / self.frames_per_second)))


class Watched(gymnasium.Wrapper):
    """Draw an environment before each step; where that fails, go on without, and say why."""

    def __init__(self, env: gymnasium.Env, draw: Callable[[Frame], None]) -> None:
        """`draw` shows or films a picture [H, W, 3]."""
        super().__init__(env)
        self._draw = draw
        self.trouble: str | None = None  # why nothing is drawn any more

    def step(self, action: Any) -> Any:
        """Draw what the action answers, then step."""
        if self.trouble is None:
            try:
                self._draw(picture_of(self.env))
            except Exception as error:  # drawing fails in many ways; none may cost a score
                self.trouble = trouble(error)
        return self.env.step(action)


def picture_of(environment: gymnasium.Env) -> Frame:
    """Return the environment's picture, uint8 [H, W, 3].

    EnvironmentProblem if it draws anything else.
    """
    picture: Any = environment.render()
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3:
        what = type(picture).__name__
        if isinstance(picture, np.ndarray):
            what = f"an array of {picture.dtype} {list(picture.shape)}"
        raise EnvironmentProblem(
            f"render() of {type(environment.unwrapped).__name__} returns {what}; "
            'with render_mode="rgb_array" it must return an array of uint8 [height, width, 3]'
        )
    return picture


def trouble(error: Exception) -> str:
    """Return why drawing failed, in one line."""
    if isinstance(error, EnvironmentProblem):
        return str(error)
    return f"the environment can't be drawn here: {reason(error)}{place(error)}"


def _enlargement(frame: Frame) -> int:
    return int(max(1, WIDTH // frame.shape[1]))
