"""TensorBoard: scalars, and evaluation videos as moving pictures."""

from __future__ import annotations

import io
import itertools
import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.records.appender import Appender, Guard

_TENSORBOARD_SECONDS = 5.0
GIF_FRAMES = 200
_GIF_PIXELS = 256


class Board:
    """One TensorBoard event file.

    It is written through an Appender: without a thread, without another framework, and without
    incomplete records.
    """

    def __init__(self, directory: Path, guard: Guard) -> None:
        self._directory, self._guard = directory, guard
        self._file: Appender | None = None
        self._absent = False
        self._purge_step: int | None = None

    def scalars(self, values: Mapping[str, float], steps: int) -> None:
        """Add those of the values that are finite."""
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        self._add(steps, [{"tag": key, "simple_value": value} for key, value in finite.items()])

    def video(
        self, tag: str, frames: Sequence[npt.NDArray[np.uint8]], steps: int, fps: float
    ) -> None:
        """Add RGB frames [H, W, 3] as a moving picture."""
        try:
            gif, height, width = _gif(frames, fps)
        except (ImportError, ValueError, OSError) as error:
            self._guard.warn(
                f"A video could not be shown in TensorBoard ({error}); its file is not affected."
            )
            return
        image = {"height": height, "width": width, "colorspace": 3, "encoded_image_string": gif}
        self._add(steps, [{"tag": tag, "image": image}])

    def purge_after(self, steps: int) -> None:
        """Make TensorBoard hide what earlier files contain after `steps`."""
        self._purge_step = steps + 1

    def move_to(self, directory: Path) -> None:
        """Go on in another folder, with a new file."""
        self._directory, self._file = directory, None

    def flush(self) -> None:
        """Write what is still in memory."""
        if self._file is not None:
            self._file.flush()

    def _add(self, steps: int, values: list[dict[str, Any]]) -> None:
        if self._absent:
            return
        try:
            from tensorboard.compat.proto.event_pb2 import (  # type: ignore[import-untyped]
                Event,
                SessionLog,
            )
            from tensorboard.compat.proto.summary_pb2 import (  # type: ignore[import-untyped]
                Summary,
            )
        except ImportError:
            self._absent = True
            self._guard.warn(
                "TensorBoard is not installed, so tb/ stays empty; pip install tensorboard."
            )
            return
        if self._file is None:
            self._file = self._open()
            self._write(Event(wall_time=time.time(), step=0, file_version="brain.Event:2"))
        if self._purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=self._purge_step, session_log=start))
            self._purge_step = None
        summary = Summary(value=[Summary.Value(**value) for value in values])
        self._write(Event(wall_time=time.time(), step=steps, summary=summary))

    def _open(self) -> Appender:
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        paths = (self._directory / f"{name}.{number}" for number in itertools.count())
        with self._guard(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
        return Appender(
            next(path for path in paths if not path.exists()),
            self._guard,
            append=False,
            hold_seconds=_TENSORBOARD_SECONDS,
        )

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped]
            RecordWriter,
        )

        assert self._file is not None
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        self._file.add(record.getvalue())


def thumbnail(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a small copy of a picture [H, W, 3]; two hundred of them fit into memory."""
    shrink = math.ceil(max(frame.shape[:2]) / _GIF_PIXELS)
    return frame[::shrink, ::shrink].copy()


def _gif(frames: Sequence[npt.NDArray[np.uint8]], fps: float) -> tuple[bytes, int, int]:
    """Encode RGB frames as a small endless GIF; return it, its height and width in pixels."""
    from PIL import Image

    every = math.ceil(len(frames) / GIF_FRAMES)
    images = [Image.fromarray(thumbnail(frame)) for frame in frames[::every]]
    milliseconds = max(20, round(1000 * every / fps))  # players show less than 20 ms slowly
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0
    )
    return buffer.getvalue(), images[0].height, images[0].width
