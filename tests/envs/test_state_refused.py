"""What cannot be saved or loaded exactly is refused in a sentence, and nothing changes."""

from __future__ import annotations

import copy
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from envs.state import DoesNotFit, Unsaveable, constants_of, load_states, save_states
from tests.envs.graphs import Holder, through_a_file


class Thing:
    """An object whose hash is its address."""


def sets_of_objects(env: Any) -> None:
    env.thing = {Thing(), Thing()}


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda env: setattr(env, "thing", threading.Lock()), "a _thread.lock in 'thing'"),
        (lambda env: setattr(env, "thing", [{"a": object()}]), r"object in \"thing\[0\]\['a'\]\""),
        (lambda env: setattr(env, "thing", iter([1])), "a builtins.list_iterator"),
        (lambda env: setattr(env, "thing", (i for i in ())), "a builtins.generator"),
        (lambda env: setattr(env, "thing", vars(env)), "its own attributes' dictionary"),
        (lambda env: setattr(env, "thing", torch.zeros(3)), "a torch.Tensor in 'thing'"),
        (lambda env: setattr(env, "thing", np.ma.zeros(1)), "a numpy.ma.MaskedArray in 'thing'"),
        (sets_of_objects, "a set of objects, whose order is that of their addresses"),
    ],
)
def test_what_cant_be_saved_is_named(build, sentence):
    with pytest.raises(Unsaveable, match=f"Holder keeps .*{sentence}"):
        save_states([Holder(build)])


def test_a_function_that_only_the_saved_environment_has_is_refused_and_nothing_changes():
    def change(env: Any) -> None:
        env.late = lambda: 1

    first, second = Holder(lambda env: vars(env).update(world=[1])), Holder(lambda env: None)
    change(first)
    second.world = [2]
    before = dict(vars(second))
    with pytest.raises(DoesNotFit, match="'late' of Holder is not there"):
        load_states([second], through_a_file(save_states([first])))
    assert vars(second) == before and second.world == [2]


class Fussy:
    """An object that has no hash where it is 2."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __hash__(self) -> int:
        if self.x == 2:
            raise RuntimeError("this one has no hash")
        return 1


def test_what_was_changed_is_undone_where_loading_fails_half_way():
    def build(env: Any) -> None:
        env.numbers, env.items, env.array = [1], {"a": 1}, np.zeros(3)
        env.keys = {Fussy(1): 1}

    first, second = Holder(build), Holder(build)
    first.numbers.append(2)
    first.array += 1.0
    first.more = 1
    next(iter(first.keys)).x = 2
    state = through_a_file(save_states([first]))
    numbers, names, key = second.numbers, list(vars(second)), next(iter(second.keys))
    with pytest.raises(DoesNotFit, match="can't be loaded: this one has no hash"):
        load_states([second], state)
    assert second.numbers is numbers and numbers == [1] and list(vars(second)) == names
    assert second.items == {"a": 1} and second.array.tolist() == [0.0] * 3
    assert second.keys == {key: 1} and key.x == 1


def test_a_damaged_or_hostile_state_is_refused():
    state = save_states([Holder(lambda env: vars(env).update(call=max, things=[1]))])
    other = Holder(lambda env: vars(env).update(call=max, things=[1]))
    number = next(n for n, node in enumerate(state["nodes"]) if node[1] == ["builtins", "max"])
    for name in (["os", "system"], ["builtins", "exec"], ["nowhere", "f"], 3):
        forged = copy.deepcopy(state)
        forged["nodes"][number][1] = name
        with pytest.raises(DoesNotFit):
            load_states([other], forged)
    for forged in ({**state, "nodes": state["nodes"][:-3]}, {**state, "version": 1}, [], {}):
        with pytest.raises(DoesNotFit):
            load_states([other], forged)
    assert other.call is max


def test_a_model_that_has_changed_is_refused():
    def make() -> Any:
        return gym.make("HalfCheetah-v5")

    env = make()
    constants = constants_of([env])
    env.reset(seed=1)
    save_states([env], constants)
    env.unwrapped.model.opt.gravity[2] = -3.0
    with pytest.raises(Unsaveable, match=r"a MuJoCo model that has changed .* in 'model'"):
        save_states([env], constants)
    with pytest.raises(DoesNotFit):
        load_states([make()], save_states([env]))


@pytest.mark.parametrize("size", [2, 3, 5, 6, 60])
def test_sets_keep_their_order_or_are_refused(size):
    rng = np.random.default_rng(0)
    elements = [(int(x), int(y)) for x, y in rng.integers(64, size=(size, 2))]

    def build(env: Any) -> None:
        env.walls, env.seen = set(elements), set()

    first, second = Holder(build), Holder(build)
    first.count = 1
    load_states([second], through_a_file(save_states([first])))  # walls are as they were made
    assert list(second.walls) == list(first.walls) and second.count == 1
    first.seen.update(elements[::-1])
    if size > 6:
        with pytest.raises(DoesNotFit, match="'seen' of Holder can't be made again as it was"):
            load_states([second], through_a_file(save_states([first])))
        assert second.seen == set()
    else:
        load_states([second], through_a_file(save_states([first])))
        assert list(second.seen) == list(first.seen)


class Classy(Holder):
    items: list[int] = []  # noqa: RUF012  (what the test is about)
    made = 0

    def __init__(self) -> None:
        super().__init__(lambda env: None)


def test_a_class_whose_attributes_change_is_refused(monkeypatch):
    env = Classy()
    constants = constants_of([env])
    save_states([env], constants)
    env.items.append(1)
    with pytest.raises(Unsaveable, match=r"changes .*Classy\.items, an attribute of its class"):
        save_states([env], constants)
    env.items.clear()
    save_states([env], constants)
    monkeypatch.setattr(Classy, "made", 1)
    with pytest.raises(Unsaveable, match=r"changes .*Classy\.made"):
        save_states([env], constants)
