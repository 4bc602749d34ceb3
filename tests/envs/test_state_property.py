"""Random programs on random graphs of objects go on in a new environment as in the first one."""

from __future__ import annotations

import random
from collections import Counter, OrderedDict, defaultdict, deque
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.state import DoesNotFit, constants_of, load_states, save_states
from tests.envs.graphs import through_a_file

NAMES = "abcdef"


class Thing:
    def __init__(self) -> None:
        self.children: list[Any] = []


class Slots:
    __slots__ = ("left", "right")


class Items(list):
    pass


def counter() -> Any:
    seen: list[int] = []

    def count() -> int:
        seen.append(len(seen))
        return len(seen)

    return count


MAKERS = {
    "list": lambda rng: [1, 2.5, "x"],
    "tuple": lambda rng: (1, [2]),
    "dict": lambda rng: {"a": 1, 2: None, (3, "c"): []},
    "ordered": lambda rng: OrderedDict(z=1, a=2),
    "default": lambda rng: defaultdict(list),
    "counts": lambda rng: Counter("abca"),
    "set": lambda rng: {int(n) for n in rng.integers(1000, size=5)},
    "deque": lambda rng: deque([1, 2], maxlen=3),
    "items": lambda rng: Items([1]),
    "thing": lambda rng: Thing(),
    "slots": lambda rng: Slots(),
    "space": lambda rng: SimpleNamespace(),
    "floats": lambda rng: rng.random((3, 4)),
    "fortran": lambda rng: np.asfortranarray(rng.random((3, 4)).astype(np.float32)),
    "big endian": lambda rng: rng.integers(9, size=(3, 4)).astype(">i4"),
    "bytes": lambda rng: np.zeros((80, 80), np.uint8),  # a digest while nothing changes it
    "objects": lambda rng: np.array([1, None, "x", 2.5] * 3, dtype=object).reshape(3, 4),
    "scalar": lambda rng: np.float32(rng.random()),
    "true": lambda rng: True,
    "half": lambda rng: 0.5,
    "generator": lambda rng: np.random.Generator(np.random.Philox(3)),
    "python": lambda rng: random.Random(3),
    "function": lambda rng: counter(),
}
OPERATIONS = st.one_of(
    st.tuples(st.just("make"), st.sampled_from(NAMES), st.sampled_from(sorted(MAKERS))),
    *(
        st.tuples(st.just(operation), st.sampled_from(NAMES), st.sampled_from(NAMES))
        for operation in ("name", "put", "take", "change", "change", "view", "lock", "drop", "hold")
    ),
)


class Machine(gym.Env[Any, Any]):
    """Holds a graph of objects that `program` changes at each step, and `build` at first."""

    def __init__(self, build: list[Any], program: list[Any]) -> None:
        self.observation_space = Box(-1e9, 1e9, (1,), np.float32)
        self.action_space = Discrete(2)
        self.build, self.program = tuple(build), tuple(program)
        for operation in build:
            self.do(*operation, np.random.default_rng(0))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.step(0)[0], {}

    def step(self, action: Any) -> Any:
        for operation in self.program:
            self.do(*operation, self.np_random)
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def do(self, operation: str, name: str, other: str, rng: np.random.Generator) -> None:
        value, item = getattr(self, name, None), getattr(self, other, None)
        if operation == "make":
            setattr(self, name, MAKERS[other](rng))
        elif operation == "name":
            setattr(self, name, item)
        elif operation == "put":
            put(value, item, rng)
        elif operation == "take":
            setattr(self, name, take(item, rng))
        elif operation == "change":
            change(value, rng)
        elif operation == "view" and isinstance(item, np.ndarray) and item.ndim == 2:
            setattr(self, name, item[1] if item.dtype == object else item[1:, ::2])
        elif operation == "lock" and isinstance(value, np.ndarray):
            value.flags.writeable = False
        elif operation == "drop" and hasattr(self, name):
            delattr(self, name)
        elif operation == "hold" and hasattr(value, "append"):
            setattr(self, other, value.append)


def put(value: Any, item: Any, rng: np.random.Generator) -> None:
    key = ["p", "q", (1, "r")][rng.integers(3)]
    if isinstance(value, list | deque) and len(value) < 9:
        value.append(item)
    elif isinstance(value, dict) and not isinstance(value, Counter):
        value[key] = item
    elif isinstance(value, Thing):
        value.children = [*value.children[-3:], item]
    elif isinstance(value, SimpleNamespace):
        setattr(value, str(key), item)
    elif isinstance(value, Slots):
        setattr(value, "left" if key == "p" else "right", item)
    elif isinstance(value, np.ndarray) and value.dtype == object and value.flags.writeable:
        value.reshape(-1)[int(rng.integers(value.size))] = item


def take(value: Any, rng: np.random.Generator) -> Any:
    items: list[Any] = [None]
    if isinstance(value, list | deque | tuple):
        items = [*value, None]
    elif isinstance(value, dict):
        items = [*value.values(), None]
    elif isinstance(value, Thing):
        items = [value.children]
    return items[rng.integers(len(items))]


def change(value: Any, rng: np.random.Generator) -> None:
    if isinstance(value, np.ndarray) and value.flags.writeable and value.dtype != object:
        value[(0,) * value.ndim] += 1
    elif isinstance(value, Counter):
        value[str(rng.integers(9))] += 1
    elif isinstance(value, dict) and value:
        value.pop(next(iter(value)))
    elif isinstance(value, set) and len(value) < 30:
        value.add(int(rng.integers(1000)))
    elif isinstance(value, list) and value:
        value.pop(0)
    elif isinstance(value, np.random.Generator):
        value.random(3, np.float32)
        value.spawn(1)
    elif isinstance(value, random.Random):
        value.gauss(0, 1)
    elif callable(value) and getattr(value, "__name__", "") == "count":
        value()


def describe(value: Any, seen: dict[int, int], kept: list[Any]) -> Any:
    """Return all that can be seen of a graph, each object once and then by its number."""
    if type(value) in (type(None), bool, int, float, str):
        return type(value).__name__, repr(value)
    if type(value) is tuple and all(type(item) in (int, str) for item in value):
        return repr(value)  # constants of the code, each once in a process
    if id(value) in seen:
        return seen[id(value)]
    seen[id(value)] = len(seen)
    kept.append(value)

    def inside(*items: Any) -> list[Any]:
        return [type(value).__name__, *(describe(item, seen, kept) for item in items)]

    if isinstance(value, np.ndarray):
        layout = value.dtype.str, value.shape, value.strides, value.flags.writeable
        start = value.__array_interface__["data"][0]
        content = value.tolist() if value.dtype == object else [value.tobytes().hex()]
        if isinstance(value.base, np.ndarray):
            start -= value.base.__array_interface__["data"][0]
            return [layout, start, inside(value.base)]
        return [layout, inside(*content)]
    if isinstance(value, np.generic):
        return [value.dtype.str, repr(value)]
    if isinstance(value, np.random.Generator):
        return [repr(value.bit_generator.state), repr(value.bit_generator.seed_seq)]
    if isinstance(value, random.Random):
        return [repr(value.getstate())]
    if isinstance(value, dict):
        attributes = [getattr(value, "default_factory", None)]
        return inside(*value.keys(), *value.values(), *attributes)
    if isinstance(value, set | tuple):
        return inside(*value)
    if isinstance(value, list | deque):
        return inside(*value, getattr(value, "maxlen", None))
    if isinstance(value, Slots):
        return inside(*(getattr(value, name, "nothing") for name in ("left", "right")))
    if isinstance(value, Thing | SimpleNamespace):
        return inside(vars(value))
    if hasattr(value, "__closure__"):
        return inside(value.__name__, *(cell.cell_contents for cell in value.__closure__ or ()))
    if hasattr(value, "__self__"):
        return inside(value.__name__, value.__self__)
    return repr(value)


class Looking(gym.Wrapper[Any, Any, Any, Any]):
    """Holds what the environment held when it was made."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.seen = getattr(machine, "a", None)


def make(build: list[Any], program: list[Any]) -> list[Looking]:
    """Return two environments that share an object."""
    first, second = Machine(build, program), Machine(build[::-1], program[::-1])
    second.b = getattr(first, "a", None)
    return [Looking(first), Looking(second)]


def seen_of(environments: list[Looking]) -> Any:
    machines: list[Any] = [env.unwrapped for env in environments]
    held = [getattr(machine, name, "nothing") for machine in machines for name in NAMES]
    held += [env.seen for env in environments]
    return describe([*held, *(machine.np_random for machine in machines)], {}, [])


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(OPERATIONS, min_size=4, max_size=14),
    st.lists(OPERATIONS, max_size=10),
    st.integers(0, 4),
)
def test_random_programs_go_on_where_they_were(build, program, num_steps):
    # What makes a function comes first: a new environment must have it, too.
    program = [step for step in program if step[2] != "function"]
    first, second = make(build, program), make(build, program)
    constants = constants_of(first)
    for seed, env in enumerate([*first, *second]):
        env.reset(seed=seed)
    for env in first * num_steps:
        env.step(0)
    try:
        load_states(second, through_a_file(save_states(first, constants)))
    except DoesNotFit:  # a set whose order can't be made again
        assert any("set" in operation for operation in [*build, *program])
        return
    for _ in range(3):
        assert seen_of(first) == seen_of(second)
        for env in [*first, *second]:
            env.step(0)
    assert seen_of(first) == seen_of(second)
