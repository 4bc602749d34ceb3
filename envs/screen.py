"""The emulator's picture in grey, by way of its palette."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

_UNKNOWN = 255


class GreyScreen:
    """Reads an ALE's current frame as a fresh uint8 [rows, 160] grey image.

    The emulator draws in palette indices; looking them up takes 8 us where its RGB screen takes 21 and its grey one 13.
    The ALE does not give its palette away (NTSC or PAL), so every colour is learnt from the first frame that shows it.
    """

    def __init__(
        self, ale: Any, *, grey: Literal["mean", "luminance"], rows: slice = slice(None)
    ) -> None:
        self._ale = ale
        self._grey = grey
        self._rows = rows
        # No palette's grey reaches 255, so a 255 after the look-up is a colour not seen before.
        self._table = np.full(256, _UNKNOWN, np.uint8)

    def __call__(self) -> Frame:
        """The frame now."""
        indices = self._ale.getScreen()[self._rows]
        frame: Frame = cv2.LUT(indices, self._table)  # type: ignore[assignment]
        if frame.max() == _UNKNOWN:
            self._learn(indices)
            frame = cv2.LUT(indices, self._table)  # type: ignore[assignment]
        return frame

    def _learn(self, indices: Frame) -> None:
        if self._grey == "mean":
            self._table[indices] = np.rint(
                self._ale.getScreenRGB()[self._rows].mean(axis=2)
            ).astype(np.uint8)
        else:
            self._table[indices] = self._ale.getScreenGrayscale()[self._rows]
