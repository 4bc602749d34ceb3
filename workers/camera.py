"""The camera: an environment that is watched, in a window or on video."""

from pathlib import Path
from typing import Any

from envs.ids import ResolvedId
from envs.make import frames_per_second, make
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
            self._environments[pictures] = make(
                self._resolved,
                training=False,
                max_episode_length=self._max_episode_length,
                render=pictures,
            )
        return self._environments[pictures]

    @property
    def frames_per_second(self) -> float:
        """The environment's natural speed."""
        return frames_per_second(self._environments[True], self._resolved)

    def film(self, path: Path) -> VideoWriter:
        """Start a video of the environment with pictures, which must have been reset once."""
        picture = self._environments[True].render()
        return VideoWriter(path, fps=self.frames_per_second, scale=_enlargement(picture))

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


def _enlargement(frame: Frame) -> int:
    return int(max(1, WIDTH // frame.shape[1]))
