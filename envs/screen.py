"""The emulator's picture in grey, looked up in its palette."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

_UNKNOWN = 255


class GreyScreen:
    """Read an ALE's current frame as a fresh uint8 [rows, 160] grey image.

    The emulator draws in palette indices. Looking them up takes 8 us; the ALE's RGB screen takes
    21 us and its grey screen 13 us. The ALE does not publish its palette (NTSC or PAL), so every
    colour is learnt from the first frame that shows it.
    """

    def __init__(
        self, ale: Any, *, grey: Literal["mean", "luminance"], rows: slice = slice(None)
    ) -> None:
        self._ale = ale
        self._grey = grey
        self._rows = rows
        # No palette's grey reaches 255, so a 255 after the look-up marks a colour not seen before.
        self._table = np.full(256, _UNKNOWN, np.uint8)

    def __call__(self) -> Frame:
        """Return the current frame."""
        indices = self._ale.getScreen()[self._rows]
        frame: Frame = cv2.LUT(indices, self._table)  # type: ignore[assignment]
        if frame.max() == _UNKNOWN:
            self._learn(indices)
            frame = cv2.LUT(indices, self._table)  # type: ignore[assignment]
        return frame

    def _learn(self, indices: Frame) -> None:
        if self._grey == "mean":
            mean = self._ale.getScreenRGB()[self._rows].mean(axis=2)
            self._table[indices] = np.rint(mean).astype(np.uint8)
        else:
            self._table[indices] = self._ale.getScreenGrayscale()[self._rows]
