from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from envs.ids import EnvironmentProblem
from envs.video import VideoWriter


def read(path: Path) -> list[Any]:
    film, frames = cv2.VideoCapture(str(path)), list[Any]()
    while True:
        more, frame = film.read()
        if not more:
            film.release()
            return frames
        frames.append(frame[..., ::-1])


def red_then_blue(height: int = 64, width: int = 48) -> list[Any]:
    frames = np.zeros((20, height, width, 3), np.uint8)
    frames[:10, ..., 0] = 200
    frames[10:, ..., 2] = 200
    return list(frames)


def test_round_trip_keeps_frames_colours_and_rate(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "new folder" / "film.mp4", fps=15, scale=2) as video:
        for frame in red_then_blue():
            video.write(frame)
        assert not video.path.exists()
    assert [path.name for path in video.path.parent.iterdir()] == [video.path.name]
    frames = read(video.path)
    assert len(frames) == 20
    assert frames[0].shape == (128, 96, 3)
    assert np.abs(frames[2].mean(axis=(0, 1)) - [200, 0, 0]).max() < 25
    assert np.abs(frames[-2].mean(axis=(0, 1)) - [0, 0, 200]).max() < 25
    assert cv2.VideoCapture(str(video.path)).get(cv2.CAP_PROP_FPS) == pytest.approx(15)


def test_odd_and_changing_sizes(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "film.mp4", fps=30) as video:
        for height, width in ((65, 49), (65, 49), (30, 80)):
            video.write(np.full((height, width, 3), 90, np.uint8))
    assert [frame.shape for frame in read(video.path)] == [(64, 48, 3)] * 3


def test_a_video_that_failed_or_has_no_frame_leaves_no_file(tmp_path: Path) -> None:
    video = VideoWriter(tmp_path / "film.mp4", fps=30)
    with pytest.raises(KeyboardInterrupt), video:  # noqa: PT012
        video.write(red_then_blue()[0])
        raise KeyboardInterrupt
    with VideoWriter(tmp_path / "other.mp4", fps=30):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_cannot_be_written_never_raises(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with VideoWriter(tmp_path / "film.mp4", fps=30) as video:
        video.write(red_then_blue()[0])
        video.write(np.zeros((64, 48), np.float32))
        video.write(red_then_blue()[0])
    assert len(caplog.records) == 1
    assert list(tmp_path.iterdir()) == []


def test_only_opening_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem, match="cannot be written"):
        VideoWriter(tmp_path / "file" / "film.mp4", fps=30).write(red_then_blue()[0])
    monkeypatch.setattr("envs.video.CODECS", (("vp09", ".nosuchcontainer"),))
    video = VideoWriter(tmp_path / "film.mp4", fps=30)
    with pytest.raises(EnvironmentProblem, match="no codec opened it"):
        video.write(red_then_blue()[0])
    video.write(red_then_blue()[0])
    video.close()


def test_falls_back_to_another_codec_and_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envs.video.CODECS", (("vp09", ".nosuchcontainer"), ("MJPG", ".avi")))
    with VideoWriter(tmp_path / "film.mp4", fps=30) as video:
        for frame in red_then_blue():
            video.write(frame)
    assert video.path == tmp_path / "film.avi"
    assert len(read(video.path)) == 20
