"""What environments hold survives exactly: names, types, containers, sets, functions."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from envs.state import Unsaveable, load_states, save_states
from tests.envs.graphs import Holder, held, through_a_file


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x


class Slotted:
    __slots__ = ("__weakref__", "absent", "x")

    def __init__(self, x: Any) -> None:
        self.x = x


class Config(dict):
    """Items that are attributes, too."""

    def __init__(self, **items: Any) -> None:
        super().__init__(**items)
        self.__dict__ = self


class Named(list):
    name = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    row: int
    column: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Side(enum.IntFlag):
    LEFT = 1
    RIGHT = 2


Pair = namedtuple("Pair", "a b")


def test_two_names_for_one_object_stay_two_names():
    def build(env: Any) -> None:
        env.world = {"pos": [0.0, 0.0]}
        env.pos = env.world["pos"]
        env.first = env.second = Point([1])

    def change(env: Any) -> None:
        env.pos[0] += 1.0
        env.first.x.append(env.pos[0])

    _, env = held(build, change)
    assert env.pos is env.world["pos"]
    assert env.first is env.second
    assert env.pos == [4.0, 0.0]
    assert env.second.x == [1, 1.0, 2.0, 3.0, 4.0]


def test_what_two_wrappers_and_two_environments_share_stays_shared():
    class Looks(gym.Wrapper):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.seen = env.unwrapped.things

    def make() -> list[Any]:
        score: list[int] = []
        envs = [Holder(lambda env: vars(env).update(things=[1], score=score)) for _ in range(2)]
        return [Looks(env) for env in envs]

    first, second = make(), make()
    for number, env in enumerate(first):
        env.reset()
        env.unwrapped.things.append(number)
        env.unwrapped.score.append(number)
    load_states(second, through_a_file(save_states(first)))
    for env in second:
        assert env.seen is env.unwrapped.things
    a, b = (env.unwrapped for env in second)
    assert a.score is b.score and a.score == [0, 1]
    assert a.things is not b.things and b.things == [1, 1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.zeros(4, np.float32), np.full(4, 0.1, np.float64)),
        (np.zeros(2, np.int64), np.full(2, 0.75)),
        (np.zeros(3), np.arange(3, dtype=">f4")),
        ([0, 0], [0.75, 0.75]),
        (0, True),
        (1.0, np.float64(1.5)),
        (0, np.longlong(3)),
        (None, np.datetime64("2020-01-01", "ns")),
        ("", np.str_("text")),
        ((), (1, [2])),
        (np.zeros(2), np.array(["a", "bcd"])),
        (None, np.array([(1, 2.0)], [("a", "<i4"), ("b", ">f8")])),
        (None, np.asfortranarray(np.arange(6.0).reshape(2, 3))),
        (None, np.array(7.0)),
        (None, np.zeros((0, 3), np.int16)),
        (None, Colour.BLUE),
        (None, Side.LEFT | Side.RIGHT),
        (None, Pair(1, [2])),
        (None, range(1, 9, 2)),
        (None, frozenset({1, 2, (3, 4)})),
        (None, np.dtype(">u2")),
        (None, 2**100),
        (None, 1 + 2j),
        (None, bytearray(b"ab")),
    ],
)
def test_types_are_those_of_the_moment_and_not_those_of_a_new_environment(before, after):
    def change(env: Any) -> None:
        env.thing = after

    if isinstance(after, bytearray):
        with pytest.raises(Unsaveable, match=r"a builtins\.bytearray in 'thing'"):
            held(lambda env: None, change)
        return
    first = Holder(lambda env: setattr(env, "thing", before), change)
    first.reset(seed=1)
    second = Holder(lambda env: setattr(env, "thing", before), lambda env: None)
    second.reset(seed=1)
    load_states([second], through_a_file(save_states([first])))
    thing: Any = second.thing
    assert type(thing) is type(after)
    if isinstance(after, np.ndarray):
        assert thing is not after
        assert thing.dtype == after.dtype and thing.dtype.byteorder == after.dtype.byteorder
        assert thing.shape == after.shape and thing.strides == after.strides
        assert thing.tobytes() == after.tobytes()
    else:
        assert repr(thing) == repr(after)


def test_containers_of_every_kind():
    def build(env: Any) -> None:
        env.queue = deque([1, 2, 3], maxlen=3)
        env.ordered = OrderedDict(a=1, b=2)
        env.counts = Counter("aab")
        env.lists = defaultdict(list)
        env.config = Config(speed=1)
        env.named = Named([1])
        env.plain = SimpleNamespace(x=1)
        env.slotted = Slotted(1)
        env.cells = {Cell(1, 2): "x"}
        env.visited = {Cell(0, 0)}
        env.loop = [1]
        env.loop.append(env.loop)
        env.objects = np.array([1, [2], None, "x"], dtype=object).reshape(2, 2)
        env.numbers = {1: "one", "two": 2, (3, 4): [5], None: None}

    def change(env: Any) -> None:
        env.queue.append(len(env.visited))
        env.ordered.move_to_end("a")
        env.counts["c"] += 1
        env.lists["k"].append(1)
        env.config.speed += 1
        env.named.append(2)
        env.named.name = "new"
        env.plain.y = env.plain
        env.slotted.x = env.queue
        env.cells[Cell(3, len(env.cells))] = env.loop
        env.visited.add(Cell(1, len(env.visited)))
        env.objects[0, 1].append(3)
        del env.numbers[next(iter(env.numbers))]

    first, env = held(build, change)
    assert env.queue == first.queue and env.queue.maxlen == 3
    assert list(env.ordered) == ["b", "a"] and type(env.ordered) is OrderedDict
    assert env.counts == first.counts and type(env.counts) is Counter
    assert env.lists["other"] == [] and env.lists["k"] == [1, 1, 1, 1]
    assert env.config["speed"] == 5 and vars(env.config) is env.config
    assert list(env.named) == list(first.named) and env.named.name == "new"
    assert env.plain.y is env.plain
    assert env.slotted.x is env.queue and not hasattr(env.slotted, "absent")
    assert list(env.cells) == list(first.cells) and env.cells[Cell(3, 1)] is env.loop
    assert env.visited == first.visited and Cell(1, 1) in env.visited
    assert env.loop[1] is env.loop
    assert env.objects.shape == (2, 2) and env.objects[0, 1] == [2, 3, 3, 3, 3]
    assert list(env.numbers) == list(first.numbers)


def test_attributes_that_came_and_went():
    def build(env: Any) -> None:
        env.going = 1

    def change(env: Any) -> None:
        if hasattr(env, "going"):
            del env.going
        else:
            env.came = [1]

    first, second = Holder(build, change), Holder(build, change)
    for _ in range(2):
        first.step(0)
    assert second.going == 1
    load_states([second], through_a_file(save_states([first])))
    assert not hasattr(second, "going") and second.came == [1]


def test_functions_go_on_with_what_they_have_captured():
    def build(env: Any) -> None:
        seen, total = [], 0

        def count(by: int = 1) -> int:
            nonlocal total
            total += by
            seen.append(total)
            return total

        env.count, env.seen = count, seen
        env.twice = functools.partial(count, by=2)
        env.bound = env.seen.append
        env.own = env.reset
        env.table = {"sin": np.sin, "max": max, "kind": Point}

    def change(env: Any) -> None:
        env.count()
        env.twice()
        env.bound(0)

    first, env = held(build, change)
    assert env.seen == first.seen
    assert env.count() == first.count() == 13
    assert env.twice() == 15 and env.seen[-2:] == [13, 15]
    assert env.bound.__self__ is env.seen and env.own.__self__ is env
    assert env.table == first.table


def test_sets_of_text_have_no_order_that_could_be_kept():
    first, second = (Holder(lambda env: setattr(env, "keys", set())) for _ in range(2))
    first.keys |= {f"key {n}" for n in range(50)}
    load_states([second], through_a_file(save_states([first])))
    assert second.keys == first.keys


def test_a_time_limit_is_a_setting_unless_the_environment_changed_it():
    def make(limit: int) -> Any:
        return gym.wrappers.TimeLimit(Holder(lambda env: None), max_episode_steps=limit)

    first, longer = make(10), make(20)
    first.reset()
    first.step(0)
    load_states([longer], through_a_file(save_states([first])))
    assert (longer._max_episode_steps, longer._elapsed_steps) == (20, 1)
    first._max_episode_steps = 12
    load_states([longer], through_a_file(save_states([first])))
    assert longer._max_episode_steps == 12
