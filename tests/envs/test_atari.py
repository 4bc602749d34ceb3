from __future__ import annotations

from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest

from envs.atari import EpisodicLife, FireReset, FrameStack4, MaxAndSkip, NoopReset
from envs.episodes import ClipReward, EpisodeStatistics, statistics_of
from envs.ids import resolve
from envs.make import make
from tests.envs.fakes import Scripted


def colour_pipeline_42(rgb: Any) -> Any:
    frame = cv2.resize(cv2.resize(rgb[34:194, :160], (80, 80)), (42, 42))
    return frame.mean(axis=2)[None]


@pytest.mark.parametrize("game", ["Pong", "Breakout"])
def test_frame42_agrees_with_the_colour_pipeline(game: str) -> None:
    env = make(resolve(f"{game}Deterministic-v4"), training=False)
    ale = env.unwrapped.ale  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    observation, _ = env.reset(seed=0)
    for _ in range(300):
        assert observation.dtype == np.uint8
        assert np.abs(observation - colour_pipeline_42(ale.getScreenRGB())).max() <= 2
        observation, _, terminated, truncated, _ = env.step(int(rng.integers(4)))
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()


@pytest.mark.parametrize("game", ["Pong", "Breakout"])
@pytest.mark.parametrize(
    ("obs_mode", "size", "rows"), [("stack84", 84, slice(0, 210)), ("stack42", 42, slice(34, 194))]
)
def test_a_stack_is_the_area_average_of_the_last_two_grey_frames(
    obs_mode: str, size: int, rows: slice, game: str
) -> None:
    resolved = resolve(f"{game}NoFrameskip-v4", obs_mode=obs_mode)
    env = make(resolved, training=True)  # in evaluation a lost life adds steps of its own
    plain = gym.make(f"{game}NoFrameskip-v4", obs_type="grayscale", disable_env_checker=True)
    observation, _ = env.reset(seed=0)
    plain.reset(seed=0)
    plain_emulator: Any = plain.unwrapped
    plain_emulator.restore_state(env.unwrapped.clone_state(include_rng=True))  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(30):
        action = int(rng.integers(4))
        screens = [plain.step(action)[0] for _ in range(4)]
        latest_two = np.maximum(screens[2], screens[3])[rows]
        frames.append(cv2.resize(latest_two, (size, size), interpolation=cv2.INTER_AREA))
        observation = env.step(action)[0]
        np.testing.assert_array_equal(observation[-1], frames[-1])
    np.testing.assert_array_equal(observation, np.stack(frames[-4:]))
    env.close()
    plain.close()


def test_ram_is_scaled_to_one() -> None:
    env = make(resolve("Pong-ram-v4"), training=True)
    observation, _ = env.reset(seed=0)
    ram = env.unwrapped.ale.getRAM()  # type: ignore[attr-defined]
    np.testing.assert_allclose(observation, ram / 255, rtol=1e-6)
    assert observation.dtype == np.float32
    env.close()


def test_noop_reset_waits_1_to_30_steps() -> None:
    env = NoopReset(Scripted(lives=[3] * 40), noop_max=30)
    env.reset(seed=0)
    waits = []
    for _ in range(300):
        observation, _ = env.reset()
        waits.append(int(observation[0]) % 100)
    assert (min(waits), max(waits)) == (1, 30)


def test_noop_reset_survives_an_episode_that_ends_meanwhile() -> None:
    env = NoopReset(Scripted(lives=[1, 1, 0]), noop_max=30)
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        assert observation[0] % 100 < 3


class TwoPixels(Scripted):
    """Show frames [step, 10 - step]: their maximum tells which two frames were taken."""

    def frame(self) -> Any:
        return np.array([self.elapsed, 10 - self.elapsed], np.float32)


def test_max_of_the_last_two_frames_and_sum_of_rewards() -> None:
    env = MaxAndSkip(
        TwoPixels(lives=[1] * 8, rewards=[1, 2, 4, 8, 0, 0, 0, -1], shape=(2,)), skip=4
    )
    np.testing.assert_array_equal(env.reset()[0], [0, 10])
    observation, reward, *_ = env.step(0)
    np.testing.assert_array_equal(observation, [4, 7])  # of frames 3 and 4
    assert reward == 15
    observation, reward, *_ = env.step(0)
    np.testing.assert_array_equal(observation, [8, 3])
    assert reward == -1


def test_skipping_stops_where_the_game_ends() -> None:
    env = MaxAndSkip(TwoPixels(lives=[1, 0, 1, 1], shape=(2,)), skip=4)
    env.reset()
    observation, reward, terminated, *_ = env.step(0)
    np.testing.assert_array_equal(observation, [2, 9])
    assert (reward, terminated) == (2, True)


def test_only_the_frames_in_use_are_read_from_the_screen() -> None:
    base = TwoPixels(lives=[1] * 8, shape=(2,))
    reads: list[int] = []

    def screen() -> Any:
        reads.append(base.elapsed)
        return base.frame()

    env = MaxAndSkip(base, skip=4, screen=screen)
    env.reset()
    np.testing.assert_array_equal(env.step(0)[0], [4, 7])
    assert reads == [0, 3, 4]


def test_episodic_life_goes_on_with_the_same_game() -> None:
    base = Scripted(lives=[2, 1, 1, 1, 0])
    env = EpisodicLife(base)
    env.reset()
    ends = [env.step(2)[2], env.step(2)[2]]
    assert ends == [False, True]
    observation, _ = env.reset()
    assert (base.games, observation[0]) == (1, 103)  # the third step of the first game, a no-op
    assert [env.step(2)[2], env.step(2)[2]] == [False, True]
    observation, _ = env.reset()
    assert (base.games, observation[0]) == (2, 200)
    assert base.actions == [2, 2, 0, 2, 2]


def test_a_seed_starts_a_new_game_in_the_middle_of_one() -> None:
    base = Scripted(lives=[2, 1, 1])
    env = EpisodicLife(base)
    env.reset()
    env.step(0)
    env.step(0)
    env.reset(seed=3)
    assert base.games == 2


def test_a_game_that_ends_inside_reset_is_reported_there() -> None:
    env = EpisodicLife(EpisodeStatistics(Scripted(lives=[2, 1, 0], rewards=[1, 1, 5])))
    env.reset()
    env.step(0)
    *_, terminated, _, _ = env.step(0)
    assert terminated
    assert statistics_of(env).take() == []
    _, info = env.reset()
    assert statistics_of(env).take() == [(7.0, 3)]
    assert info["lives"] == 2


def test_fire_reset_presses_fire_then_action_two() -> None:
    base = Scripted(lives=[3] * 9)
    observation, _ = FireReset(base).reset()
    assert (base.actions, observation[0]) == ([1, 2], 102)


def test_fire_after_every_life_sums_its_rewards() -> None:
    base = Scripted(lives=[3, 3, 3, 2, 2, 2, 2], rewards=[0, 0, 1, 2, 4, 8, 16])
    env = FireReset(base, every_life=True)
    env.reset()
    assert env.step(0)[1] == 1
    assert env.step(0)[1] == 2 + 4 + 8
    assert base.actions == [1, 2, 0, 0, 1, 2]
    assert env.step(0)[1] == 16


def test_fire_only_where_the_game_knows_it() -> None:
    def has_fire_reset(env: Any) -> bool:
        while env is not env.unwrapped:
            if isinstance(env, FireReset):
                return True
            env = env.env
        return False

    for game, expected in (("Breakout", True), ("Freeway", False)):
        env = make(resolve(f"{game}NoFrameskip-v4"), training=True)
        assert has_fire_reset(env) is expected
        env.close()


def test_frame_stack_starts_black_and_hands_out_fresh_arrays() -> None:
    env = FrameStack4(Scripted(lives=[1] * 9, shape=(84, 84)))
    first, _ = env.reset()
    assert [int(frame[0, 0]) for frame in first] == [0, 0, 0, 100]
    later = [env.step(0)[0] for _ in range(4)]
    assert [int(frame[0, 0]) for frame in later[0]] == [0, 0, 100, 101]
    assert [int(frame[0, 0]) for frame in later[3]] == [101, 102, 103, 104]
    again, _ = env.reset()
    assert [int(frame[0, 0]) for frame in again] == [0, 0, 0, 200]


@pytest.mark.parametrize(("sign", "expected"), [(True, [1, -1, 0, 1]), (False, [1, -1, 0, 0.5])])
def test_clip_reward(sign: bool, expected: list[float]) -> None:
    env = ClipReward(Scripted(lives=[1] * 4, rewards=[7, -3, 0, 0.5]), sign=sign)
    env.reset()
    assert [env.step(0)[1] for _ in range(4)] == expected


def test_an_emulator_seeded_when_made_plays_what_one_seeded_by_reset_plays() -> None:
    resolved = resolve("Pong-v0")  # sticky actions and a random frame skip
    histories = []
    for seed in (7, None, 8):
        env = make(resolved, training=True, seed=seed)
        observation, _ = env.reset(seed=7)
        history = [observation.copy()]
        for t in range(300):
            observation, *_ = env.step(t % 6)
            history.append(observation.copy())
        env.reset()
        history.append(env.step(2)[0].copy())
        histories.append(np.stack(history))
    assert (histories[0] == histories[1]).all() and (histories[0] == histories[2]).all()
