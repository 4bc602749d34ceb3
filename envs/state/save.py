"""Save the graph of objects that environments hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

import gymnasium as gym

from envs.state import arrays, code, containers, generators, instances, simulators
from envs.state.kinds import PLAIN, Children, Edge, Kind, Unsaveable, kind_name

State = dict[str, Any]
Environments = Sequence[gym.Env[Any, Any]]

VERSION = 2
# The first kind that an object fits is its kind.
KINDS: tuple[Kind, ...] = (
    *containers.KINDS,
    *arrays.KINDS,
    *generators.KINDS,
    *simulators.KINDS,
    *code.KINDS,
    *instances.KINDS,
)
BY_NAME = {kind.name: kind for kind in KINDS}


class Walk:
    """Numbers the objects that environments hold, nearest first, each once."""

    def __init__(self, environments: Environments) -> None:
        """Walk; what has no kind is left out, with the reason in `problem`."""
        self.values: list[Any] = []
        self.kinds: list[Kind] = []
        self.children: list[Children] = []
        self.problem: str | None = None
        self._came_from: list[tuple[int, Edge]] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # ids stay those of these objects
        self._own_dictionaries: dict[int, int] = {}  # of objects' attributes -> the object
        for i, env in enumerate(environments):
            self._meet(env, -1, i)
        for number, value in enumerate(self.values):  # grows meanwhile
            self._enter(number, value)
        for where, number in self._own_dictionaries.items():
            if where in self._numbers and self._numbers[where] != number:
                self._refuse("its own attributes' dictionary", number)

    def find(self, value: Any) -> int | None:
        """Return an object's number; None if it has none."""
        return self._numbers.get(id(value))

    def number(self, value: Any) -> int:
        """Return an object's number. KeyError if it has none."""
        return self._numbers[id(value)]

    def place(self, number: int) -> str:
        """Return where an object stands: `CartPoleEnv keeps it in 'world[0]'`, in two words."""
        edges: deque[str] = deque()
        while number >= 0:
            came_from, edge = self._came_from[number]
            if isinstance(self.values[number], gym.Env):
                break
            edges.appendleft(place(edge))
            number = came_from
        return f"{type(self.values[number]).__name__}|{''.join(edges).lstrip('.')}"

    def _enter(self, number: int, value: Any) -> None:
        try:
            children = self.kinds[number].children(value)
        except TypeError as problem:
            self._refuse(str(problem), number)
            children = []
        self.children.append(children)
        own = getattr(value, "__dict__", None)
        if type(own) is dict and self.kinds[number] in instances.KINDS:
            self._own_dictionaries[id(own)] = number
        for edge, child in children:
            if type(child) not in PLAIN:
                self._meet(child, number, edge)

    def _meet(self, value: Any, came_from: int, edge: Edge) -> None:
        if id(value) in self._numbers:
            return
        kind = kind_of(value)
        self._kept.append(value)
        if kind is None:
            self._refuse(f"a {kind_name(value)}", came_from, edge)
            return
        self._numbers[id(value)] = len(self.values)
        self.values.append(value)
        self.kinds.append(kind)
        self._came_from.append((came_from, edge))

    def _refuse(self, what: str, number: int, edge: Edge | None = None) -> None:
        self.problem = self.problem or sentence(what, self.place(number), edge)


def sentence(what: str, where: str, edge: Edge | None = None) -> str:
    """Return the sentence that says what can't be saved."""
    layer, _, name = where.partition("|")
    name = (name + ("" if edge is None else place(edge))).lstrip(".")
    return f"{layer} keeps {what} in {name!r}, which can't be saved"


def place(edge: Edge) -> str:
    """Return how Python names a place: `.name`, `[0]`."""
    if isinstance(edge, tuple):
        where, what = edge
        return place(what) if where == "item" else f"[{what!r}]"
    if isinstance(edge, str):
        return edge if edge.startswith(".") else f".{edge}"
    return f"[{edge!r}]"


def kind_of(value: Any) -> Kind | None:
    """Return the kind of an object; None if it has none."""
    return next((kind for kind in KINDS if kind.fits(value)), None)


def constants_of(environments: Environments) -> frozenset[str]:
    """Return the digests of the big arrays and the models that new environments hold.

    None is known if an object of theirs can't even be looked at; training must not fail for that.
    """
    try:
        return _digests(Walk(environments).values)
    except Exception:
        return frozenset()


def _digests(values: Sequence[Any]) -> frozenset[str]:
    big = [arrays.digest(arrays.memory_of(value)) for value in values if arrays.is_big(value)]
    models = [simulators.model_digest(value) for value in values if simulators.is_model(value)]
    return frozenset(big + models)


def save_states(environments: Environments, constants: Collection[str] | None = None) -> State:
    """Return the state of environments, with their wrappers and random generators.

    Of what is in `constants`, the `constants_of` the environments when they were made, only
    digests are saved. Raises Unsaveable.
    """
    try:
        return encode(Walk(environments), environments, constants)
    except Unsaveable:
        raise
    except Exception as problem:  # an object of theirs that can't even be looked at
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise Unsaveable(f"{type(environments[0]).__name__} can't be saved ({reason})") from problem


def encode(walk: Walk, environments: Environments, constants: Collection[str] | None) -> State:
    """Return the state that a walk has found. Unsaveable."""
    nodes = [_node(walk, number, constants) for number in range(len(walk.values))]
    if walk.problem is not None:
        raise Unsaveable(walk.problem)
    return {"version": VERSION, "layers": layers(environments), "nodes": nodes}


def layers(environments: Environments) -> list[list[str]]:
    """Return the types of each environment's wrappers, outermost first, and of itself."""
    result = []
    for env in environments:
        names = [type(env).__name__]
        while isinstance(env, gym.Wrapper):
            env = env.env
            names.append(type(env).__name__)
        result.append(names)
    return result


def _node(walk: Walk, number: int, constants: Collection[str] | None) -> list[Any]:
    """Return [kind, label, data, places of the children, children]: plain ones, or (number,)."""
    value, kind, children = walk.values[number], walk.kinds[number], walk.children[number]
    if walk.problem is not None:
        return []
    try:
        label, data = kind.label(value), kind.data(value, constants)
    except TypeError as problem:
        raise Unsaveable(sentence(str(problem), walk.place(number))) from None
    edges = [edge for edge, _ in children]
    in_order = edges == list(range(len(edges)))
    saved = [child if type(child) in PLAIN else (walk.number(child),) for _, child in children]
    return [kind.name, label, data, None if in_order else edges, saved]
