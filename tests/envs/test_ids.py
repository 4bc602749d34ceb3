from __future__ import annotations

import itertools
import pickle
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from envs.ids import EnvironmentProblem, resolve
from envs.make import frames_per_second, make

# requested, obs_mode -> observation, the emulator's frameskip, its sticky probability,
# agent steps per second
ATARI = [
    ("Pong-v0", "auto", "frame42", (2, 5), 0.25, 20),
    ("Pong-v4", "auto", "frame42", (2, 5), 0.0, 20),
    ("ALE/Pong-v5", "auto", "frame42", 4, 0.25, 15),
    ("PongDeterministic-v4", "auto", "frame42", 4, 0.0, 15),
    ("PongDeterministic-v0", "auto", "frame42", 4, 0.25, 15),
    ("PongNoFrameskip-v4", "auto", "stack84", 1, 0.0, 15),
    ("PongNoFrameskip-v0", "auto", "stack84", 1, 0.25, 15),
    ("PongNoFrameskip-v4", "frame42", "frame42", 4, 0.0, 15),
    ("PongNoFrameskip-v4", "stack42", "stack42", 1, 0.0, 15),
    ("ALE/Pong-v5", "stack42", "stack42", 1, 0.25, 15),
    ("ALE/Pong-v5", "stack84", "stack84", 1, 0.25, 15),
    ("PongDeterministic-v4", "stack84", "stack84", 1, 0.0, 15),
    ("Pong-v4", "stack84", "stack84", (2, 5), 0.0, 20),
    ("Pong-ram-v0", "auto", "ram", (2, 5), 0.25, 20),
    ("Pong-ram-v4", "auto", "ram", (2, 5), 0.0, 20),
    ("Pong-ramNoFrameskip-v4", "auto", "ram", 4, 0.0, 15),
    ("Pong-ramDeterministic-v4", "auto", "ram", 4, 0.0, 15),
    ("ALE/Breakout-ram-v5", "auto", "ram", 4, 0.25, 15),
]


@pytest.mark.parametrize(
    ("requested", "obs_mode", "observation", "frameskip", "sticky", "rate"), ATARI
)
def test_atari_ids_make_the_right_emulator(
    requested: str, obs_mode: str, observation: str, frameskip: Any, sticky: float, rate: float
) -> None:
    resolved = resolve(requested, obs_mode=obs_mode)
    env = make(resolved, training=False)
    emulator: Any = env.unwrapped
    assert (resolved.family, resolved.observation) == ("atari", observation)
    assert emulator.repeat_action_probability == pytest.approx(sticky)
    assert frames_per_second(env, resolved) == rate
    observed, _ = env.reset(seed=1)
    assert observed in env.observation_space
    possible = {frameskip} if isinstance(frameskip, int) else set(range(*frameskip))
    assert frames_per_step(emulator, num_steps=40) == possible
    env.close()


def frames_per_step(emulator: Any, *, num_steps: int) -> set[int]:
    """Return the different numbers of frames that single steps of the emulator took."""
    frames = [emulator.step(0)[4]["frame_number"] for _ in range(num_steps)]
    return {after - before for before, after in itertools.pairwise(frames)}


@pytest.mark.parametrize("obs_mode", ["frame42", "stack42", "stack84"])
@pytest.mark.parametrize("requested", ["PongDeterministic-v4", "PongNoFrameskip-v4"])
def test_one_agent_step_is_four_frames_whatever_the_id(requested: str, obs_mode: str) -> None:
    env = make(resolve(requested, obs_mode=obs_mode), training=False)
    _, info = env.reset(seed=1)
    before = info["frame_number"]
    for _ in range(3):
        *_, info = env.step(0)
    assert info["frame_number"] - before == 12
    env.close()


CONTROL = [
    ("Hopper-v2", "Hopper-v4", 11),
    ("HalfCheetah-v1", "HalfCheetah-v4", 17),
    ("Reacher-v2", "Reacher-v4", 11),
    ("Humanoid-v3", "Humanoid-v4", 376),
    ("Ant-v2", "Ant-v4", 27),
    ("Pusher-v2", "Pusher-v5", 23),
    ("Pusher-v4", "Pusher-v5", 23),
    ("Hopper-v5", "Hopper-v5", 11),
    ("CartPole-v0", "CartPole-v0", 4),
    ("CartPole-v1", "CartPole-v1", 4),
    ("Acrobot-v1", "Acrobot-v1", 6),
    ("Pendulum-v0", "Pendulum-v1", 3),
    ("FrozenLake-v1", "FrozenLake-v1", 16),
]


@pytest.mark.parametrize(("requested", "used", "size"), CONTROL)
def test_control_ids(requested: str, used: str, size: int) -> None:
    resolved = resolve(requested)
    assert (resolved.requested, resolved.id) == (requested, used)
    assert (resolved.note is None) == (requested == used)
    env = make(resolved, training=True)
    assert env.observation_space.shape == (size,)
    env.close()


def test_notes_name_what_is_used() -> None:
    notes = {
        name: resolve(name).note
        for name in ("PongDeterministic-v4", "Pong-v0", "ALE/Pong-v5", "Ant-v2")
    }
    assert notes["PongDeterministic-v4"] == (
        "PongDeterministic-v4 is no longer registered: "
        "using ALE/Pong-v5 with frameskip 4 and no sticky actions"
    )
    assert notes["Pong-v0"] == "Pong-v0: frameskip 2-4 at random and sticky actions 0.25"
    assert notes["ALE/Pong-v5"] is None
    assert "27 observations instead of 111" in str(notes["Ant-v2"])
    assert resolve("LunarLander-v2").id == "LunarLander-v3"


UNKNOWN = [
    ("PongNoFrameSkip-v4", "PongNoFrameskip-v4"),
    ("Pong-v5", "did you mean ALE/Pong-v5?"),
    ("TetrisNoFrameskip-v4", "did you mean ALE/Tetris-v5?"),
    ("Hoper-v4", "Hopper-v4"),
    ("NoSuchGameDeterministic-v4", "did you mean"),
]


@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_unknown_ids_name_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(
        EnvironmentProblem, match=r"^Unknown environment .*: did you mean .*\?$"
    ) as problem:
        resolve(name)
    assert hint in str(problem.value)


def test_other_mistakes_are_one_sentence_with_the_fix() -> None:
    with pytest.raises(EnvironmentProblem, match="module no_such_module could not be imported"):
        resolve("no_such_module:Foo-v0")
    with pytest.raises(EnvironmentProblem, match="module no_such_module could not be imported"):
        resolve("CartPole-v1", env_modules=["no_such_module"])
    with pytest.raises(EnvironmentProblem, match="not an Atari game"):
        resolve("CartPole-v1", obs_mode="ram")
    with pytest.raises(
        EnvironmentProblem, match="choose one of auto, frame42, stack42, stack84, ram"
    ):
        resolve("Pong-v0", obs_mode="frame84")
    with pytest.raises(EnvironmentProblem, match="use observation mode ram or auto"):
        resolve("Pong-ram-v4", obs_mode="stack84")
    with pytest.raises(EnvironmentProblem, match="frameskip=0 is not possible"):
        resolve("Pong-v4", env_kwargs={"frameskip": 0})


def test_env_kwargs_win_and_are_never_skipped_twice() -> None:
    assert resolve("Pong-v4", env_kwargs={"frameskip": 1}).kwargs["frameskip"] == 1
    assert resolve("Pong-v4", env_kwargs={"frameskip": [3, 6]}).kwargs["frameskip"] == (3, 6)
    three = resolve("Pong-v4", env_kwargs={"frameskip": 3}, obs_mode="stack84")
    assert three.kwargs["frameskip"] == 3
    assert resolve("Pong-v4", env_kwargs={"obs_type": "ram"}).observation == "ram"
    full = make(
        resolve("PongDeterministic-v4", env_kwargs={"full_action_space": True}), training=True
    )
    assert isinstance(full.action_space, gym.spaces.Discrete)
    assert full.action_space.n == 18
    full.close()


def test_modules_travel_with_the_pickled_id() -> None:
    resolved = pickle.loads(pickle.dumps(resolve("envs.toys:Recall-v0")))
    assert (resolved.id, resolved.modules) == ("Recall-v0", ("envs.toys",))
    make(resolved, training=True).close()


def test_dm_control_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shimmy", None)
    with pytest.raises(EnvironmentProblem, match="pip install shimmy dm-control"):
        resolve("dm.hopper.stand")
    monkeypatch.setitem(sys.modules, "shimmy", types.ModuleType("shimmy"))
    monkeypatch.setitem(gym.registry, "dm_control/hopper-stand-v0", gym.spec("CartPole-v1"))
    resolved = resolve("dm.hopper.stand")
    assert (resolved.id, resolved.modules) == ("dm_control/hopper-stand-v0", ("shimmy",))


def test_no_warning_reaches_the_user(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("Pong-v0", "Hopper-v2", "CartPole-v0"):
            make(resolve(name), training=True).close()
    assert caught == []
    assert capfd.readouterr() == ("", "")


PACKAGED = [
    ("MiniGrid-Empty-5x5-v0", "minigrid", "pip install minigrid"),
    ("HopperBulletEnv-v0", "pybullet_envs_gymnasium", "pip install pybullet_envs_gymnasium"),
    ("dm_control/hopper-stand-v0", "shimmy", "pip install shimmy dm-control"),
    ("highway-fast-v0", "highway_env", "pip install highway-env"),
    ("FlappyBird-v0", "flappy_bird_gymnasium", "pip install flappy-bird-gymnasium"),
]


@pytest.mark.parametrize(("name", "module", "hint"), PACKAGED)
def test_ids_of_well_known_packages_need_no_module(
    name: str, module: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(gym.registry, name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(EnvironmentProblem, match=hint):
        resolve(name)
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    monkeypatch.setitem(gym.registry, name, gym.spec("CartPole-v1"))
    monkeypatch.setattr("envs.ids.load_registry", registering(name, module))
    assert resolve(name).modules == (module,)


def registering(name: str, module: str) -> Any:
    """Return a registry that has `name` as soon as `module` is imported."""

    def load(modules: Any = ()) -> dict[str, Any]:
        hidden = {} if module in modules else {name}
        return {id_: spec for id_, spec in gym.registry.items() if id_ not in hidden}

    return load


def test_the_namespace_of_an_id_is_imported_if_it_is_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "herbarium.py").write_text(
        "import gymnasium\ngymnasium.register('herbarium/Fern-v0', entry_point='envs.toys:Bandit')"
    )
    with pytest.raises(EnvironmentProblem, match=r"^Unknown environment nowhere/Fern-v0"):
        resolve("nowhere/Fern-v0")
    assert resolve("herbarium/Fern-v0").modules == ("herbarium",)
    gym.registry.pop("herbarium/Fern-v0")


def test_a_module_that_needs_another_package_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needing.py").write_text("\nimport no_such_package.part")
    (tmp_path / "raising.py").write_text("\n\nraise RuntimeError")
    with pytest.raises(EnvironmentProblem, match=r"needing.py, line 2: pip install no_such_pack"):
        resolve("needing:Foo-v0")
    with pytest.raises(EnvironmentProblem, match=r"\(RuntimeError, .*raising.py, line 3: Runtime"):
        resolve("raising:Foo-v0")
