"""Videos of episodes, in formats that a browser can play, and moving pictures (GIF)."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from envs.ids import EnvironmentProblem

if TYPE_CHECKING:
    from envs.gif import GifWriter

# (codec, suffix), best first. VP9 plays in browsers, and OpenCV's wheel has no H.264 encoder.
# Builds without VP9 have the others.
CODECS = (("vp09", ".mp4"), ("mp4v", ".mp4"), ("MJPG", ".avi"))
SUFFIXES = (".mp4", ".avi", ".gif")


class VideoWriter:
    """Write uint8 RGB frames [H, W, 3] to a video file.

    The file appears at `path` only when it is complete; then `written` is true. The suffix of
    `path`, one of SUFFIXES, says the format; `path` gets another one where OpenCV lacks the codec.
    The first frame opens the file. Only that may raise EnvironmentProblem.
    """

    def __init__(self, path: str | Path, *, fps: float, scale: int = 1) -> None:
        """Enlarge frames by the whole number `scale`, without smoothing."""
        self.path = Path(path)
        assert self.path.suffix in SUFFIXES
        self.written = False
        self._fps = float(fps)
        self._scale = scale
        self._partial = self.path
        self._size = (0, 0)  # width, height
        self._writer: cv2.VideoWriter | GifWriter | None = None
        self._failed = False

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, cut or padded to the first one's size."""
        if self._failed:
            return
        if self._writer is None:
            self._open(frame)
        try:
            assert self._writer is not None
            self._writer.write(self._prepare(frame))
        except Exception:  # whatever is wrong with a video must not stop an evaluation
            self._failed = True
            logging.getLogger(__name__).warning(
                "No video %s: a frame could not be written.", self.path, exc_info=True
            )

    def discard(self) -> None:
        """Give the video up; `close` will remove the file."""
        self._failed = True

    def close(self) -> None:
        """Finish the file and move it to `path`; leave none after a failure or without frames."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        try:
            writer.release()
            if not self._failed:
                self._partial.replace(self.path)
                self.written = True
        except OSError as error:
            logging.getLogger(__name__).warning("No video %s: %s", self.path, error)
        if not self.written:
            self._partial.unlink(missing_ok=True)

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
        # Encoders want even sides.
        height, width = (max(2, side * self._scale // 2 * 2) for side in frame.shape[:2])
        self._size = (width, height)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._partial = self.path.with_name(f".{self.path.stem}.partial{self.path.suffix}")
            self._partial.touch()
            self._partial.unlink()
        except OSError as error:
            where = f"{error.filename}: {error.strerror}"
            raise self._cannot_open(where, "choose another folder") from error
        if self.path.suffix == ".gif":
            from envs.gif import GifWriter

            self._writer = GifWriter(self._partial, fps=self._fps)
            return
        for codec, suffix in sorted(CODECS, key=lambda row: row[1] != self.path.suffix):
            # OpenCV chooses the container by the suffix, so the temporary name must end with it.
            partial = self.path.with_name(f".{self.path.stem}.partial{suffix}")
            writer = _open_writer(partial, codec, self._fps, self._size)
            if writer is not None:
                self._writer = writer
                self._partial = partial
                self.path = self.path.with_suffix(suffix)
                return
            partial.unlink(missing_ok=True)
        raise self._cannot_open("no codec opened it", "reinstall opencv-python")

    def _cannot_open(self, reason: str, fix: str) -> EnvironmentProblem:
        self._failed = True
        return EnvironmentProblem(f"The video {self.path} cannot be written ({reason}): {fix}.")

    def _prepare(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        width, height = self._size
        if self._scale > 1:
            frame = frame.repeat(self._scale, axis=0).repeat(self._scale, axis=1)
        if frame.shape[:2] != (height, width):
            frame = frame[:height, :width]
            below, right = height - frame.shape[0], width - frame.shape[1]
            frame = np.pad(frame, ((0, below), (0, right), (0, 0)))
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
