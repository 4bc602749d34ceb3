"""Walk through the objects that environments hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import gymnasium as gym

from envs.state import arrays, code, containers, generators, instances, simulators
from envs.state.kinds import PLAIN, Children, Edge, Kind, kind_name

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
    """Numbers the objects that environments, or other roots, hold: nearest first, each once."""

    def __init__(self, roots: Iterable[Any]) -> None:
        """Walk; what has no kind is left out, with the reason in `problem`."""
        self.values: list[Any] = []
        self.kinds: list[Kind] = []
        self.children: list[Children] = []
        self.problem: str | None = None
        self._came_from: list[tuple[int, Edge]] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []  # ids stay those of these objects
        self._own_dictionaries: dict[int, int] = {}  # of objects' attributes -> the object
        for i, root in enumerate(roots):
            if type(root) not in PLAIN:
                self._meet(root, -1, i)
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
