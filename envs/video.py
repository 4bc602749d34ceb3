"""Films of episodes that a browser can play."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.ids import EnvironmentProblem

# VP9 plays in browsers; the wheel has no H.264 encoder. The others are what a build without VP9 still has.
_CODECS = (("vp09", ".mp4"), ("mp4v", ".mp4"), ("MJPG", ".avi"))


class VideoWriter:
    """Writes uint8 RGB frames [H, W, 3] to a film that appears under `path` only when it is complete.

    The first frame opens the file, and that alone may raise EnvironmentProblem; `path` gets the codec's suffix.
    """

    def __init__(self, path: str | Path, *, fps: float, scale: int = 1) -> None:
        """`scale` enlarges by a whole number, without smoothing."""
        self.path = Path(path).with_suffix(_CODECS[0][1])
        self._fps = float(fps)
        self._scale = scale
        self._partial = self.path
        self._size = (0, 0)  # width, height
        self._writer: cv2.VideoWriter | None = None
        self._failed = False

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame; later frames are cut or padded to the first one's size."""
        if self._failed:
            return
        if self._writer is None:
            self._open(frame)
        try:
            assert self._writer is not None
            self._writer.write(self._prepare(frame))
        except Exception:  # a film is not worth an evaluation, whatever went wrong with it
            self._failed = True
            logging.getLogger(__name__).warning(
                "No video %s: a frame could not be written.", self.path, exc_info=True
            )

    def discard(self) -> None:
        """Give the film up: nothing of it will stay."""
        self._failed = True

    def close(self) -> None:
        """Finish the film and give it its name; without a frame, or after a failure, there is none."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.release()
        if self._failed:
            self._partial.unlink(missing_ok=True)
            return
        try:
            self._partial.replace(self.path)
        except OSError as error:
            logging.getLogger(__name__).warning("No video %s: %s", self.path, error)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._failed = self._failed or kind is not None
        self.close()

    def _open(self, frame: NDArray[np.uint8]) -> None:
        height, width = (
            max(2, side * self._scale // 2 * 2) for side in frame.shape[:2]
        )  # encoders want even sides
        self._size = (width, height)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_open(str(error)) from error
        for codec, suffix in _CODECS:
            # The suffix chooses the container, so the temporary name has to end with it.
            partial = self.path.with_name(f".{self.path.stem}.partial{suffix}")
            writer = _open_writer(partial, codec, self._fps, self._size)
            if writer is not None:
                self._writer, self._partial, self.path = (
                    writer,
                    partial,
                    self.path.with_suffix(suffix),
                )
                return
            partial.unlink(missing_ok=True)
        raise self._cannot_open("no codec opened it")

    def _cannot_open(self, reason: str) -> EnvironmentProblem:
        self._failed = True
        return EnvironmentProblem(
            f"The video {self.path} cannot be written ({reason}): check the folder, or reinstall opencv-python."
        )

    def _prepare(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._size
        if self._scale > 1:
            frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
        if frame.shape[:2] != (height, width):
            frame = frame[:height, :width]
            frame = np.pad(
                frame, ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0))
            )
        bgr: Any = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2BGR)
        return bgr  # type: ignore[no-any-return]


def _open_writer(
    path: Path, codec: str, fps: float, size: tuple[int, int]
) -> cv2.VideoWriter | None:
    try:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
    except cv2.error:
        return None
    return writer if writer.isOpened() else None
