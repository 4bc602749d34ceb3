"""What environments hold survives exactly, or is refused in a sentence."""

from __future__ import annotations

import dataclasses
import enum
import functools
import random
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from envs.state import DoesNotFit, Unsaveable, constants_of, load_states, save_states
from tests.envs.graphs import Holder, restored, through_a_file


def held(build: Any, change: Any = None, num_steps: int = 3) -> tuple[Any, Any]:
    """Return a Holder after some steps, and a new one with its state."""
    return restored(lambda: Holder(build, change), num_steps)


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


BITS = [getattr(np.random, name) for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")]


@pytest.mark.parametrize("bits", BITS)
def test_generators_go_on_and_so_do_those_that_they_spawn(bits):
    def build(env: Any) -> None:
        env.rng = np.random.Generator(bits(np.random.SeedSequence(3)))
        env.same = env.rng
        env.draw = env.rng.random

    def change(env: Any) -> None:
        env.rng.random(3, np.float32)
        env.children = env.rng.spawn(1)

    first, env = held(build, change)
    assert env.same is env.rng and env.draw.__self__ is env.rng
    draws = [
        (
            e.rng.integers(10, size=5).tolist(),
            e.draw(),
            e.rng.spawn(1)[0].random(),
            e.children[0].random(),
        )
        for e in (first, env)
    ]
    assert draws[0] == draws[1]


def test_former_generators_go_on():
    def build(env: Any) -> None:
        env.state, env.python = np.random.RandomState(3), random.Random(3)

    def change(env: Any) -> None:
        env.state.normal()
        env.python.gauss(0, 1)

    first, env = held(build, change)
    for draw in (lambda e: e.state.normal(size=3).tolist(), lambda e: e.python.gauss(0, 1)):
        assert draw(first) == draw(env)


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


def sets_of_objects(env: Any) -> None:
    env.thing = {Point(1), Point(2)}


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
    import copy

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


def test_sets_of_text_have_no_order_that_could_be_kept():
    first, second = (Holder(lambda env: setattr(env, "keys", set())) for _ in range(2))
    first.keys |= {f"key {n}" for n in range(50)}
    load_states([second], through_a_file(save_states([first])))
    assert second.keys == first.keys


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
