"""Moving pictures in a format that every page and every chat shows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_FRAMES = 600
FASTEST = 50  # frames per second; players show faster ones slowly


class GifWriter:
    """Collect pictures, and write them as an endless GIF that plays at their speed.

    It keeps at most MOST_FRAMES of them, evenly spaced, because they stay in memory until the end.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        """The pictures that are written follow each other at `fps`."""
        self._path, self._fps = path, fps
        self._stride = math.ceil(fps / FASTEST)  # one of so many pictures is kept
        self._images: list[Any] = []
        self._written = 0

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Take the next picture [H, W, 3], in OpenCV's order of colours: BGR."""
        if self._written % self._stride == 0 and len(self._images) == MOST_FRAMES:
            self._images = self._images[::2]
            self._stride *= 2
        if self._written % self._stride == 0:
            image = Image.fromarray(np.ascontiguousarray(picture[..., ::-1]))
            self._images.append(image.convert("P", palette=Image.Palette.ADAPTIVE))
        self._written += 1

    def release(self) -> None:
        """Write the file, unless no picture was taken. OSError."""
        if not self._images:
            return
        first, *others = self._images
        # GIF counts hundredths of a second. Rounded moments, unlike rounded durations, keep pace.
        moments = np.rint(np.arange(len(self._images) + 1) * 100 * self._stride / self._fps)
        durations = [int(10 * hundredths) for hundredths in np.diff(moments)]
        first.save(
            self._path, "GIF", save_all=True, append_images=others, duration=durations, loop=0
        )
