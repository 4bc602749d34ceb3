"""Which objects of new environments take the places of saved ones, and which are made anew."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

from envs.state import arrays
from envs.state.code import find
from envs.state.kinds import Children, Kind, same
from envs.state.save import Environments
from envs.state.walk import BY_NAME, Walk, place

_MISSING = object()


class DoesNotFit(ValueError):
    """A state does not fit the environments; the message is one sentence."""


class Node:
    """A saved object."""

    def __init__(self, kind: str, label: Any, data: Any, edges: Any, children: list[Any]) -> None:
        """Take what `save.encode` returns of an object; a child is (number,), or plain."""
        self.saved = [kind, label, data, edges, children]
        self.kind: Kind = BY_NAME[kind]
        self.label, self.data = label, data
        places = range(len(children)) if edges is None else edges
        self.children: Children = list(zip(places, children, strict=True))
        # Of a big array or a model that had not changed there is nothing else.
        content = data[1] if kind == "array" else data if kind == "model" else None
        self.digests = (content,) if isinstance(content, str) else ()


class Places:
    """The objects of a saved graph, each one of the new environments' or a new one.

    What stands in the same place takes it, if it is alike: a simulator may hold it, too.
    DoesNotFit if something that can't be made is not there.
    """

    def __init__(self, environments: Environments, nodes: list[Node]) -> None:
        self.nodes = nodes
        self._fresh = Walk(environments)
        self._taken: dict[int, Any] = {}  # number -> object of the new environments
        self._objects: dict[int, Any] = {}
        self._take(environments)
        self._take_globals()
        self._part()
        for number, node in enumerate(nodes):
            if node.kind.fixed and number not in self._taken:
                raise DoesNotFit(f"{self.name(nodes, number)} is not there when it is made anew")
        big = [value for value in self._fresh.values if arrays.is_big(value)]
        self._by_digest = {arrays.digest(arrays.memory_of(value)): value for value in big}

    def is_taken(self, number: int) -> bool:
        """Return whether an object of the new environments takes this place."""
        return number in self._taken

    def object(self, number: int) -> Any:
        """Return the object that takes a place; a new one is still empty."""
        if number in self._taken:
            return self._taken[number]
        if number not in self._objects:
            node = self.nodes[number]
            needed = [
                (edge, child)
                for edge, child in node.children
                if node.kind.immutable or node.kind.is_rigid(edge) or edge == "class"
            ]
            self._objects[number] = node.kind.make(node.label, node.data, self._built(needed))
        return self._objects[number]

    def children(self, number: int) -> Children:
        """Return the objects that an object will hold."""
        return self._built(self.nodes[number].children)

    def data(self, number: int) -> Any:
        """Return an object's data; the bytes of an array of which only the digest was saved.

        DoesNotFit if no array of the new environments has that digest.
        """
        node = self.nodes[number]
        if node.kind.name != "array" or not node.digests:
            return node.data
        (digest,) = node.digests
        if digest not in self._by_digest:
            raise DoesNotFit(
                f"{self.name(self.nodes, number)} is another array when it is made anew"
            )
        mine = self._taken.get(number)
        if mine is not None and arrays.digest(arrays.memory_of(mine)) == digest:
            return node.data
        source = arrays.memory_of(self._by_digest[digest])
        return [node.data[0], torch.from_numpy(source.copy())]

    @staticmethod
    def name(nodes: list[Node], number: int) -> str:
        """Return where a saved object stands in words: `'world[0]' of CartPoleEnv`."""
        holders: dict[int, tuple[int, Any]] = {}
        for holder, node in enumerate(nodes):
            for edge, child in node.children:
                if type(child) is tuple and child[0] > holder:
                    holders.setdefault(child[0], (holder, edge))
        words: deque[str] = deque()
        while number in holders and not (words and holders[number][1] == ".env"):
            number, edge = holders[number]
            words.appendleft(place(edge))
        return f"{''.join(words).lstrip('.')!r} of {nodes[number].label[1]}"

    def _built(self, children: Children) -> Children:
        return [
            (edge, self.object(child[0]) if type(child) is tuple else child)
            for edge, child in children
        ]

    def _take(self, environments: Environments) -> None:
        """Let objects take the places that are theirs by the way to them, the nearest first."""
        waiting: deque[tuple[int, Any]] = deque(enumerate(environments))
        seen, used = set(), set()
        while waiting:
            number, value = waiting.popleft()
            node, fresh = self.nodes[number], self._fresh.find(value)
            if fresh is None or (number, fresh) in seen or self._fresh.kinds[fresh] != node.kind:
                continue
            seen.add((number, fresh))
            is_free = number not in self._taken and fresh not in used
            if is_free and _is_alike(node, value):
                self._taken[number] = value
                used.add(fresh)
            there = dict(self._fresh.children[fresh])
            waiting += [
                (child[0], there[edge])
                for edge, child in node.children
                if type(child) is tuple and edge in there
            ]

    def _take_globals(self) -> None:
        """Find functions and classes by name: those of the new environments, and of their code.

        A state must not name others, such as `os.system`.
        """
        known, packages = {}, set()
        for kind, value in zip(self._fresh.kinds, self._fresh.values, strict=True):
            if kind.name in ("global", "of the process"):
                known[str(kind.label(value))] = value
            if isinstance(value, type):
                packages.add(value.__module__.partition(".")[0])
        for number, node in enumerate(self.nodes):
            if number in self._taken or node.kind.name not in ("global", "of the process"):
                continue
            if str(node.label) in known:
                self._taken[number] = known[str(node.label)]
            elif node.kind.name == "global" and node.label[0].partition(".")[0] in packages:
                found = find(*node.label)
                if getattr(found, "__module__", None) == node.label[0]:
                    self._taken[number] = found

    def _part(self) -> None:
        """Give places up where an object holds for ever what is not in its place."""
        before = -1
        while before != len(self._taken):
            before = len(self._taken)
            for number, value in list(self._taken.items()):
                if not self._holds_what_it_should(number, value):
                    del self._taken[number]

    def _holds_what_it_should(self, number: int, value: Any) -> bool:
        node = self.nodes[number]
        rigid = [(edge, child) for edge, child in node.children if node.kind.is_rigid(edge)]
        there = {e: v for e, v in node.kind.children(value) if node.kind.is_rigid(e)}
        return len(there) == len(rigid) and all(
            there[edge] is self._taken.get(child[0], _MISSING)
            if type(child) is tuple
            else same(there[edge], child)
            for edge, child in rigid
            if edge in there
        )


def _is_alike(node: Node, value: Any) -> bool:
    """Return whether a value may take the place of a saved one of the same kind."""
    kind = node.kind
    try:
        is_alike = same(kind.label(value), node.label)
        return is_alike and (not kind.immutable or same(kind.data(value, None), node.data))
    except TypeError:  # it could not be saved
        return False
