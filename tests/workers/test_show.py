"""enjoy.py: scores whatever can be drawn, videos of the kind that was asked for, clear exits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageSequence

import enjoy
from tests.workers.runs import ROOT, flags
from workers.records import checkpoint
from workers.supervision.launch import prepare

SCORES = "episode 1: score"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run whose best policy has been trained for no step."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = flags("--env-name tests.envs.pictures:Painted-v0 --num-processes 1 --run-dir")
    prepared = prepare([*words, str(folder)])
    checkpoint.save(folder / "best.pt", prepared.policy_state())
    prepared.close()
    return folder


@pytest.fixture
def play(run, monkeypatch, capfd) -> Any:
    """Return a function: words of the command line -> (exit code, standard output and error)."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["enjoy.py", "--run-dir", str(run), *words])
        try:
            code = enjoy.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capfd.readouterr()

    return call


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        ("nothing", "render() of Painted returns NoneType"),
        ("floats", "returns an array of float64 [40, 60, 3]"),
        ("raises", "no display, file "),
        ("raises later", "no display, file "),
    ],
)
def test_scores_do_not_wait_for_pictures(play, tmp_path, picture, reason):
    film = tmp_path / "film.mp4"
    words = ("--env-kwargs", f"picture={picture}", "--episodes", "2", "--video", str(film))
    code, output, errors = play(*words)
    assert code == 1  # the video was asked for
    assert output.count("score") == 2
    assert "mean" in output
    (line,) = errors.splitlines()
    assert line.startswith("enjoy.py: no video: ")
    assert reason in line
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["envs.toys:Bandit-v0", "tests.envs.pictures:Unpainted-v0"])
def test_environments_without_pictures_give_their_scores(play, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    code, output, errors = play("--env-name", name, "--episodes", "1")
    assert code == 0  # nobody asked for a video
    assert SCORES in output
    assert len(errors.splitlines()) == 1
    assert "no video: " in errors


def test_a_video_that_cannot_be_written_costs_no_score(play, tmp_path):
    (tmp_path / "file").write_text("")
    code, output, errors = play("--episodes", "1", "--video", str(tmp_path / "file" / "film.mp4"))
    assert code == 1
    assert SCORES in output
    assert f"({tmp_path / 'file'}: File exists)" in errors


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_the_video_is_the_file_that_is_announced(play, tmp_path, suffix):
    film = tmp_path / f"film{suffix}"
    code, output, errors = play("--episodes", "1", "--video", str(film))
    assert (code, errors) == (0, "")
    assert f"video of it: {film}" in output
    assert [*tmp_path.iterdir()] == [film]
    reader = cv2.VideoCapture(str(film))
    assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    reader.release()


def test_a_gif_is_a_gif_that_plays_at_the_environments_speed(play, tmp_path):
    film = tmp_path / "film.gif"
    code, output, _ = play("--episodes", "1", "--video", str(film))
    assert code == 0
    assert f"video of it: {film}" in output
    with Image.open(film) as image:
        frames = [
            (np.asarray(frame.convert("RGB")), frame.info["duration"])
            for frame in ImageSequence.Iterator(image)
        ]
        assert image.format == "GIF"
    assert [duration for _, duration in frames] == [100] * 5
    reds = [int(frame[0, 0, 0]) for frame, _ in frames]
    assert reds == sorted({*reds})
    assert all((frame[..., 1:] == 0).all() for frame, _ in frames)


def test_another_suffix_is_refused_before_anything_is_played(play, tmp_path):
    code, output, errors = play("--video", str(tmp_path / "film.webm"))
    assert code == 2
    assert output == ""
    assert errors.endswith("give the file the suffix .mp4 or .avi or .gif\n")


def test_a_policy_plays_in_another_environment_that_fits(play):
    words = flags("--env-name tests.envs.pictures:Unpainted-v0 --episodes 3 --json")
    code, output, errors = play(*words)
    assert code == 0, errors
    assert json.loads(output)["lengths"] == [5, 5, 5]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--env-name CartPole-v1", "observations 3 (vector) and actions of 3 choices"),
        ("--env-name NoSuch-v0", "Unknown environment NoSuch-v0"),
        ("--env-kwargs colour=red", "colour"),
        ("--env-kwargs colour", "key=value"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused_in_one_sentence(play, words, reason):
    code, output, errors = play(*words.split(), "--episodes", "1", "--json")
    assert (code, output) == (2, "")
    assert reason in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "cause"), [("Breaks", "KeyError: 'speed'"), ("Leaves", "SystemExit: 0")]
)
def test_an_environment_that_fails_is_named_with_file_and_line(play, name, cause):
    code, output, errors = play(*flags(f"--env-name tests.envs.pictures:{name}-v0 --json"))
    assert (code, output) == (1, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"enjoy.py: {cause}, file ")
    assert "pictures.py, line " in line


def test_an_episode_with_a_faulty_number_has_no_score_and_costs_no_other(play):
    words = flags("--env-name tests.envs.pictures:Faulty-v0 --episodes 3 --json")
    code, output, errors = play(*words)
    scores = json.loads(output)
    assert (code, scores["lengths"], scores["returns"][1]) == (0, [5, 1, 5], None)
    assert scores["mean"] == pytest.approx((scores["returns"][0] + scores["returns"][2]) / 2)
    (line,) = errors.splitlines()
    assert line.startswith("enjoy.py: an episode has no score: Faulty-v0 gave the reward nan")


def test_without_any_score_enjoy_fails(play):
    words = flags("--env-name tests.envs.pictures:Faulty-v0 --env-kwargs every=1 --json")
    code, output, _ = play(*words, "--episodes", "2")
    scores = json.loads(output)
    assert (code, scores["returns"], scores["mean"]) == (1, [None, None], None)


def enjoy_in_shell(run: Path, words: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} {ROOT / 'enjoy.py'} --run-dir {run} {words}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=run,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_json_is_alone_on_standard_output_whatever_is_printed(run):
    done = enjoy_in_shell(run, "--env-name tests.envs.pictures:Talks-v0 --episodes 2 --json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lengths"] == [5, 5]
    assert done.stdout.count("\n") == 1
    for printed in ("from Python", "by the descriptor", "from a process"):
        assert done.stderr.count(printed) == 10
    assert "closed" in done.stderr
    assert "Traceback" not in done.stderr


def test_streams_that_are_closed_cost_no_score(run):
    words = "--env-name envs.toys:Bandit-v0 --episodes 1 --json"
    done = enjoy_in_shell(run, f"{words} 2>&-")
    assert json.loads(done.stdout)["lengths"] == [5]
    done = enjoy_in_shell(run, f"{words} >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_gets_no_traceback(run):
    done = enjoy_in_shell(run, "--env-name envs.toys:Bandit-v0 --episodes 2000 2>&1 | head -1")
    assert done.returncode == 141
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
