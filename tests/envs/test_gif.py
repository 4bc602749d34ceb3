from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from envs.gif import MOST_FRAMES
from envs.video import VideoWriter


@pytest.mark.parametrize(("frames", "fps"), [(30, 15.0), (200, 60.0), (3 * MOST_FRAMES, 30.0)])
def test_a_gif_of_any_length_plays_at_its_speed_and_stays_small(
    tmp_path: Path, frames: int, fps: float
) -> None:
    with VideoWriter(tmp_path / "film.gif", fps=fps) as video:
        for number in range(frames):
            picture = np.zeros((8, 8, 3), np.uint8)
            picture.reshape(-1, 3)[number % 64] = (255, 0, 0)  # no two that follow are alike
            video.write(picture)
        assert not video.path.exists()
    assert video.written
    with Image.open(video.path) as image:
        assert image.format == "GIF"
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
        first = np.asarray(next(iter(ImageSequence.Iterator(image))).convert("RGB"))
    assert first[0, 0].tolist() == [255, 0, 0]
    assert len(durations) <= MOST_FRAMES
    assert min(durations) >= 20
    assert sum(durations) / 1000 == pytest.approx(frames / fps, rel=0.02)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_pictures_that_cannot_be_written_leave_no_file(tmp_path: Path, suffix: str) -> None:
    with VideoWriter(tmp_path / f"film{suffix}", fps=30.0) as video:
        video.write(np.zeros((8, 8, 2), np.uint8))  # two colours
    assert not video.written
    assert [*tmp_path.iterdir()] == []
