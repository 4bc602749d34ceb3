from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from envs.batch import EnvironmentBatch
from envs.episodes import statistics_of
from envs.ids import EnvironmentProblem, load_registry, resolve
from envs.make import frames_per_second, make
from envs.physics import default_gl


def test_training_clips_but_reports_the_raw_return_and_whole_games() -> None:
    env = make(resolve("BreakoutNoFrameskip-v4"), training=True)
    batch = EnvironmentBatch([env], seeds=[3])
    batch.reset()
    rng = np.random.default_rng(0)
    rewards, lives_lost, finished = 0.0, 0, list[tuple[float, int]]()
    while not finished:
        _, finished = batch.step(rng.integers(4, size=1))
        rewards += float(batch.rewards[0])
        assert abs(batch.rewards[0]) <= 1
        lives_lost += int(batch.terminated[0])
    assert lives_lost == 5
    (raw_return, length), *_ = finished
    assert raw_return >= rewards
    assert length > 20
    batch.close()


def test_clipped_pong_loses_each_point_and_reports_their_sum() -> None:
    env = make(resolve("PongDeterministic-v4"), training=True)
    env.reset(seed=0)
    total, games = 0.0, list[tuple[float, int]]()
    while not games:
        _, reward, terminated, truncated, _ = env.step(0)
        total += float(reward)
        games = statistics_of(env).take()
    assert (terminated, truncated) == (True, False)
    assert [return_ for return_, _ in games] == [total] == [-21.0]
    env.close()


def test_evaluation_plays_whole_raw_games_and_fires_for_the_player() -> None:
    env = make(resolve("BreakoutNoFrameskip-v4"), training=False)
    _, info = env.reset(seed=0)
    steps = 0
    terminated = truncated = False
    while not (terminated or truncated):
        _, _, terminated, truncated, info = env.step(0)  # never presses FIRE itself
        steps += 1
    assert terminated
    assert info["lives"] == 0
    ((_, length),) = statistics_of(env).take()
    assert length > steps  # the opening's steps count too
    assert steps < 1000
    env.close()


@pytest.mark.parametrize("name", ["PongDeterministic-v4", "PongNoFrameskip-v4", "CartPole-v1"])
def test_max_episode_length_truncates_after_agent_steps(name: str) -> None:
    env = make(resolve(name), training=True, max_episode_length=5)
    env.reset(seed=0)
    outcomes = []
    for action in (0, 1, 0, 1, 0):
        _, _, terminated, truncated, _ = env.step(action)
        outcomes.append((terminated, truncated))
        if truncated:
            break
    assert outcomes[-1] == (False, True)
    assert [length for _, length in statistics_of(env).take()] == [5]
    env.close()


def test_seeds_repeat_a_game_exactly() -> None:
    def play(seed: int) -> Any:
        env = make(resolve("PongNoFrameskip-v0"), training=True)
        observation, _ = env.reset(seed=seed)
        frames = [observation] + [env.step(i % 6)[0] for i in range(30)]
        env.close()
        return np.stack(frames)

    np.testing.assert_array_equal(play(1), play(1))
    assert (play(1) != play(2)).any()


@pytest.mark.parametrize("name", ["CartPole-v1", "ALE/Pong-v5"])
def test_bad_keyword_arguments_are_one_sentence(name: str) -> None:
    with pytest.raises(
        EnvironmentProblem, match=r"could not be made with .*: check its keyword arguments"
    ) as problem:
        make(resolve(name, env_kwargs={"nonsense": 1}), training=True)
    assert "\n" not in str(problem.value)


def test_atari_renders_and_frame_rates() -> None:
    resolved = resolve("PongDeterministic-v4")
    env = make(resolved, training=False, render=True)
    env.reset(seed=0)
    picture: Any = env.render()
    assert picture.shape == (210, 160, 3)
    assert frames_per_second(env, resolved) == 15
    env.close()
    resolved = resolve("CartPole-v1")
    assert frames_per_second(make(resolved, training=False), resolved) == 50


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is used on Linux only")
@pytest.mark.parametrize("works", [True, False])
def test_packages_that_draw_are_imported_with_egl_where_it_works(
    works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "")  # so that the end of the test restores it
        monkeypatch.delenv(name)
    monkeypatch.setitem(sys.modules, "mujoco.egl", ModuleType("mujoco.egl") if works else None)
    monkeypatch.setitem(sys.modules, "dm_control", ModuleType("dm_control"))
    load_registry(["dm_control"])
    assert os.environ.get("MUJOCO_GL") == ("egl" if works else None)


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is used on Linux only")
def test_default_gl_only_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    default_gl()
    assert "MUJOCO_GL" not in os.environ
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    default_gl()
    assert os.environ["MUJOCO_GL"] == "osmesa"
    monkeypatch.delenv("MUJOCO_GL")
    default_gl()
    assert os.environ["MUJOCO_GL"] == "egl"


def test_half_cheetah_leaves_no_log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(resolve("HalfCheetah-v5"), training=True).close()
    assert list(tmp_path.iterdir()) == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = (
        "import sys, envs, envs.ids\n"
        "print({'torch', 'cv2', 'gymnasium', 'ale_py', 'numpy'} & set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "set()"


def test_evaluations_of_a_deterministic_emulator_start_differently() -> None:
    resolved = resolve("PongDeterministic-v4")
    for training, expected in ((False, True), (True, False)):
        env = make(resolved, training=training)
        emulator: Any = env.unwrapped
        starts = set()
        for seed in range(8):
            observation, _ = env.reset(seed=seed)
            starts.add((observation.tobytes(), emulator.ale.getEpisodeFrameNumber()))
        env.close()
        assert (len(starts) > 1) is expected


@pytest.mark.parametrize("name", ["HalfCheetah-v4", "Hopper-v4", "Ant-v5"])
def test_the_camera_follows_the_body(name: str) -> None:
    env = make(resolve(name), training=False, render=True)
    unwrapped: Any = env.unwrapped
    camera = unwrapped.model.cam(unwrapped.mujoco_renderer.camera_id)
    assert camera.name == "track"
    env.close()
