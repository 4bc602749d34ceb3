from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from envs.batch import EnvironmentBatch
from envs.episodes import statistics_of
from envs.ids import EnvironmentProblem, load_registry, resolve
from envs.make import check_spaces, frames_per_second, make
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


class Odd(gym.Env[Any, Any]):
    def __init__(self, space: Any, actions: Any = None) -> None:
        self.observation_space = space
        self.action_space = Discrete(2) if actions is None else actions

    def reset(self, **kwargs: Any) -> Any:
        return self.observation_space.sample(), {}


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = gym.envs.registration.EnvSpec("Odd-v0", entry_point=lambda **kwargs: Odd(**kwargs))
    monkeypatch.setitem(gym.registry, "Odd-v0", spec)
    return lambda space, actions=None: resolve(
        "Odd-v0", env_kwargs={"space": space, "actions": actions}
    )


def test_dictionaries_are_flattened_and_pictures_refused(odd: Any) -> None:
    resolved = odd(Dict(where=Box(-1, 1, (2, 3)), what=Discrete(4)))
    env = make(resolved, training=True)
    observation, _ = env.reset()
    assert (observation.shape, observation.dtype) == ((10,), np.float32)
    with pytest.raises(EnvironmentProblem, match="is not supported: use Atari games, vectors"):
        make(odd(Box(0, 255, (64, 64, 3), np.uint8)), training=True)


class Riddle(gym.Space[Any]):
    """A space of somebody else's, which answers none of gymnasium's questions."""

    def __init__(self) -> None:
        super().__init__(shape=(), dtype=str)

    def sample(self, *arguments: Any, **options: Any) -> str:
        return "why?"


class Nameless(Riddle):
    def __str__(self) -> str:
        return "<a>\n" * 1000


UNFLAT = [
    Riddle(),
    Nameless(),
    Dict(known=Discrete(2), riddle=Riddle()),
    gym.spaces.Sequence(Discrete(2)),
    gym.spaces.Graph(Box(0, 1, (2,)), None),
    gym.spaces.Tuple([Discrete(2), gym.spaces.Sequence(Discrete(2))]),
    gym.spaces.Tuple([]),
    Dict(),
    Box(0, 1, (2, 0)),
]


@pytest.mark.parametrize("space", UNFLAT, ids=lambda space: type(space).__name__)
def test_spaces_without_a_fixed_size_are_refused_in_one_line(odd: Any, space: Any) -> None:
    with pytest.raises(EnvironmentProblem, match="is not supported: use ") as problem:
        make(odd(space), training=True)
    sentence = str(problem.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    with pytest.raises(
        EnvironmentProblem, match=r"actions .*, which are not supported yet: "
    ) as no:
        check_spaces(make(odd(Discrete(2), space), training=True))
    assert "\n" not in str(no.value)


@pytest.mark.parametrize(
    "space",
    [
        Box(0, 255, (64, 64), np.uint8),
        Box(0, 255, (7, 7, 3), np.uint8),
        Box(0.0, 1.0, (64, 64), np.float32),
        Box(0.0, 1.0, (96, 96, 3), np.float32),
        Box(0.0, 1.0, (3, 96, 96), np.float64),
        Box(0, 65535, (40, 30), np.uint16),
        Dict(camera=Box(0, 255, (64, 64, 3), np.uint8), speed=Box(0.0, 1.0, (1,))),
        Tuple((Discrete(3), Dict(depth=Box(0.0, 9.0, (48, 64), np.float32)))),
    ],
)
def test_pictures_of_any_type_are_refused_wherever_they_are(odd: Any, space: Any) -> None:
    sentence = r"^Odd-v0 observes a picture, Box\(.*FlattenObservation\.$"
    with pytest.raises(EnvironmentProblem, match=sentence):
        make(odd(space), training=True)


@pytest.mark.parametrize("space", [Box(-1.0, 1.0, (10_001,)), Discrete(10**6)])
def test_a_vector_of_an_absurd_size_is_refused(odd: Any, space: Any) -> None:
    with pytest.raises(EnvironmentProblem, match=r"1.* numbers at once, .* at most 10,000"):
        make(odd(space), training=True)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (Box(-1.0, 1.0, (4, 84), np.float32), 336),  # a history of vectors
        (Box(0, 1, (10, 10, 4), np.int8), 400),
        (Dict(board=Box(0, 2, (8, 8), np.uint8)), 64),
        (Box(0.0, 255.0, (9216,), np.float32), 9216),
    ],
)
def test_what_is_no_picture_is_a_vector(odd: Any, space: Any, size: int) -> None:
    assert make(odd(space), training=True).reset()[0].shape == (size,)


def test_only_choices_and_box_actions(odd: Any) -> None:
    for name in ("CartPole-v1", "Pendulum-v1"):
        check_spaces(make(resolve(name), training=True))
    for actions in (gym.spaces.Text(3), Box(0, 9, (2,), np.int64)):
        with pytest.raises(
            EnvironmentProblem,
            match=rf"{type(actions).__name__} actions .*, which are not supported yet",
        ):
            check_spaces(make(odd(Discrete(2), actions), training=True))
    for actions in (
        Discrete(2, start=1),
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.MultiBinary((2, 2)),
    ):
        check_spaces(make(odd(Discrete(2), actions), training=True))


@pytest.mark.parametrize("space", [None, "a space", 3])
def test_an_environment_without_spaces_is_refused(odd: Any, space: Any) -> None:
    with pytest.raises(EnvironmentProblem, match=r"observation_space: let its constructor"):
        make(odd(space), training=True)
    with pytest.raises(EnvironmentProblem, match="a str as action_space: let its constructor set"):
        make(odd(Discrete(2), "an action"), training=True)


class Leaving(Odd):
    """An environment that ends the program where it is made, or fails where it is closed."""

    def __init__(self, *, leaves: bool) -> None:
        super().__init__(None)
        if leaves:
            raise SystemExit(0)

    def close(self) -> None:
        raise RuntimeError("it cannot be closed either")


@pytest.mark.parametrize(("leaves", "match"), [(True, "made .*SystemExit"), (False, "has no obs")])
def test_an_environment_neither_ends_the_program_nor_hides_its_first_problem(
    leaves: bool, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = gym.envs.registration.EnvSpec("Leaving-v0", entry_point=Leaving)
    monkeypatch.setitem(gym.registry, "Leaving-v0", spec)
    with pytest.raises(EnvironmentProblem, match=match):
        make(resolve("Leaving-v0", env_kwargs={"leaves": leaves}), training=True)


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
