import gymnasium as gym
import numpy as np
import pytest
from ale_py.env import AtariEnv

from envs.emulator import Emulator
from envs.ids import resolve
from envs.make import make
from envs.state import DoesNotFit, Unsaveable, load_states, save_states
from workers.records import checkpoint


def play(env: gym.Env, num_steps: int, seed: int) -> list:
    """Return observations, rewards and ends of random actions, over several episodes."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(num_steps):
        space = env.action_space
        action = (
            int(rng.integers(space.n))
            if isinstance(space, gym.spaces.Discrete)
            else rng.uniform(-1, 1, space.shape)
        )
        observation, reward, terminated, truncated, _ = env.step(action)
        seen.append((np.array(observation), reward, terminated, truncated))
        if terminated or truncated:
            seen.append(np.array(env.reset()[0]))
    return seen


IDS = (
    "Pong-v0",
    "PongNoFrameskip-v4",
    "BreakoutNoFrameskip-v4",
    "ALE/MsPacman-ram-v5",
    "HalfCheetah-v4",
    "Hopper-v5",
    "Ant-v4",
    "Humanoid-v4",
    "Reacher-v4",
    "InvertedDoublePendulum-v4",
    "Swimmer-v4",
    "CartPole-v1",
    "Pendulum-v1",
    "envs.toys:Recall-v0",
    "envs.toys:Aim-v0",
)


@pytest.mark.parametrize("name", IDS)
def test_a_restored_environment_continues_exactly(tmp_path, name):
    resolved = resolve(name)
    first, second = (
        make(resolved, training=True, max_episode_length=150, seed=seed) for seed in (1, 2)
    )
    first.reset(seed=1)
    second.reset(seed=2)
    play(first, 130, seed=0)
    play(second, 17, seed=1)
    checkpoint.save(tmp_path / "state.pt", save_states([first]))
    load_states([second], checkpoint.load(tmp_path / "state.pt"))
    for mine, theirs in zip(play(first, 200, seed=2), play(second, 200, seed=2), strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["Pong-v0", "PongNoFrameskip-v0", "ALE/Breakout-v5"])
def test_the_action_that_sticks_is_restored(name):
    resolved = resolve(name)
    first = make(resolved, training=True, seed=1)
    first.reset(seed=1)
    for moment in range(12):
        play(first, 7, seed=moment)
        second = make(resolved, training=True, seed=2)
        second.reset(seed=2)
        load_states([second], save_states([first]))
        for mine, theirs in zip(
            play(first, 12, seed=moment), play(second, 12, seed=moment), strict=True
        ):
            np.testing.assert_array_equal(mine[0], theirs[0])


def test_sticky_actions_are_those_of_the_emulator():
    """With probabilities 0 and 1 chance has no part, so the games are the ALE's own."""
    kwargs = {"game": "pong", "obs_type": "ram", "frameskip": 3}
    for probability in (0.0, 0.5, 1.0):
        ours = Emulator(repeat_action_probability=probability, **kwargs)
        ales = AtariEnv(repeat_action_probability=probability, **kwargs)
        seen = []
        for env in (ours, ales):
            env.reset(seed=3)
            rng = np.random.default_rng(0)
            seen.append([env.step(int(rng.integers(6)))[0].copy() for _ in range(200)])
        same = [bool((a == b).all()) for a, b in zip(*seen, strict=True)]
        assert all(same) == (probability in (0.0, 1.0))


def test_frames_keep_the_last_action_with_the_right_probability():
    env = Emulator(game="pong", obs_type="ram", frameskip=1, repeat_action_probability=0.3, seed=0)
    env.reset(seed=0)
    kept = 0
    for n in range(3000):
        before = env.held_action
        env.step(2 + n % 2)
        kept += env.held_action == before
    # Two actions alternate. After a frame that played its own action, the next frame keeps that
    # action with probability p. After a frame that kept the older action, the next frame's own
    # action is the held one already. The share of kept frames is therefore 2 p / (1 + p).
    assert kept / 3000 == pytest.approx(0.3 / (1 + 0.3) * 2, abs=0.03)


def test_an_attribute_of_an_unknown_type_is_named(tmp_path):
    env = gym.make("CartPole-v1")
    env.unwrapped.world = object()
    with pytest.raises(Unsaveable, match=r"CartPoleEnv keeps a builtins\.object in 'world'"):
        save_states([env])


def test_generators_of_any_kind_are_saved(tmp_path):
    env, other = gym.make("CartPole-v1"), gym.make("CartPole-v1")
    env.unwrapped.np_random = np.random.Generator(np.random.MT19937(3))
    checkpoint.save(tmp_path / "state.pt", save_states([env]))
    load_states([other], checkpoint.load(tmp_path / "state.pt"))
    assert (
        env.unwrapped.np_random.random(5).tolist() == other.unwrapped.np_random.random(5).tolist()
    )


def test_a_state_of_another_environment_is_refused():
    pong, cartpole = (make(resolve(name), training=True) for name in ("Pong-v0", "CartPole-v1"))
    with pytest.raises(DoesNotFit, match="consists of"):
        load_states([pong], save_states([cartpole]))
