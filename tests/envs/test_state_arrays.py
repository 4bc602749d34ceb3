"""Arrays that environments hold survive exactly, in the memory in which they lie."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from envs.state import DoesNotFit, constants_of, load_states, save_states
from tests.envs.graphs import Holder, held, through_a_file


def test_views_share_memory_and_what_is_read_only_stays_so():
    def build(env: Any) -> None:
        env.big = np.zeros((4, 6))
        env.row = env.big[1, ::-2]
        env.column = env.big[:, 2]
        env.locked = env.big[2:]
        env.locked.flags.writeable = False
        env.fixed = np.arange(3.0)
        env.fixed.flags.writeable = False
        env.alone = np.zeros(100)[10:20]

    def change(env: Any) -> None:
        env.row += 1.0
        env.column[3] += 5.0
        env.alone[0] += 1.0
        env.fixed = env.fixed + 1
        env.fixed.flags.writeable = False

    _, env = held(build, change)
    assert env.row.base is env.big and env.column.base is env.big and env.locked.base is env.big
    assert env.big[1].tolist() == [0.0, 4.0, 0.0, 4.0, 0.0, 4.0]
    assert env.big[3, 2] == 20.0 == env.locked[1, 2]
    env.row[:] = 7.0
    assert env.big[1, 5] == 7.0
    assert not env.locked.flags.writeable and env.big.flags.writeable
    assert not env.fixed.flags.writeable and env.fixed.tolist() == [4.0, 5.0, 6.0]
    assert env.alone[0] == 4.0 and env.alone.base.shape == (100,)


def big(env: Any) -> None:
    env.table = np.random.default_rng(0).random(50_000)
    env.also = env.table


def num_bytes(state: Any) -> int:
    import io

    buffer = io.BytesIO()
    torch.save(state, buffer)
    return len(buffer.getvalue())


def test_a_big_table_that_does_not_change_is_not_saved():
    env, other = Holder(big), Holder(big)
    state = save_states([env], constants_of([env]))
    assert num_bytes(state) < 50_000
    load_states([other], through_a_file(state))
    assert other.table is other.also
    np.testing.assert_array_equal(other.table, env.table)
    constants = constants_of([env])
    env.table[7] = 0.0
    changed = save_states([env], constants)
    assert num_bytes(changed) > 400_000
    load_states([other], through_a_file(changed))
    assert other.table[7] == 0.0


def test_a_table_that_is_another_one_in_the_new_environment_is_refused():
    env, other = Holder(big), Holder(big)
    state = save_states([env], constants_of([env]))
    other.table[3] = other.unrelated = 5.0
    before = other.table.copy()
    with pytest.raises(DoesNotFit, match="'table' of Holder is another array"):
        load_states([other], through_a_file(state))
    np.testing.assert_array_equal(other.table, before)
    assert other.unrelated == 5.0


def test_mapped_files_are_not_saved_and_windows_of_them_are_places(tmp_path):
    path = tmp_path / "prices.npy"
    np.save(path, np.arange(100_000.0))

    def build(env: Any) -> None:
        env.prices, env.now = np.load(path, mmap_mode="r"), 0
        env.plain = np.asarray(env.prices)

    def change(env: Any) -> None:
        env.now += 10
        env.window = env.prices[env.now : env.now + 3]
        env.also = env.plain[env.now : env.now + 3]

    first, env = held(build, change)
    assert num_bytes(save_states([first])) < 50_000
    assert env.window.tolist() == [40.0, 41.0, 42.0] == env.also.tolist()
    assert type(env.window) is np.memmap and type(env.also) is np.ndarray
    assert np.shares_memory(env.window, env.prices)


def in_the_memory_of_bytes(env: Any) -> None:
    one, other = bytearray(32), bytearray(32)
    env.a, env.b, env.c = (np.frombuffer(memory, np.int64) for memory in (one, other, other))


def test_arrays_in_the_memory_of_something_else_go_on_in_place_or_are_refused():
    first, second = Holder(in_the_memory_of_bytes), Holder(in_the_memory_of_bytes)
    first.c[1] = 7
    b = second.b
    load_states([second], through_a_file(save_states([first])))
    assert second.b is b and b[1] == 7
    second.c[2] = 8
    assert b[2] == 8
    first.c = first.a[:]
    with pytest.raises(DoesNotFit, match=r"'[abc]' of Holder"):
        load_states([second], through_a_file(save_states([first])))
    assert b.tolist() == [0, 7, 8, 0]


def test_a_view_of_the_simulator_is_of_the_same_quantity():
    def make(name: str) -> Any:
        env = gym.make("HalfCheetah-v5")
        env.reset(seed=1)
        env.unwrapped.data.qvel[:] = env.unwrapped.data.qacc[:] = 0.0
        env.unwrapped.seen = getattr(env.unwrapped.data, name)
        return env

    first, second, other = make("qvel"), make("qvel"), make("qacc")
    state = through_a_file(save_states([first]))
    load_states([second], state)
    with pytest.raises(DoesNotFit, match="'seen' of"):
        load_states([other], state)
