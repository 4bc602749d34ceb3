"""Load a saved graph of objects into new environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envs.state.kinds import Kind, same
from envs.state.places import DoesNotFit, Node, Places
from envs.state.save import VERSION, Environments, State, encode, layers
from envs.state.walk import Walk


def load_states(environments: Environments, state: State) -> None:
    """Put a saved state into environments that were made in the same way.

    Then save it again and compare. Raises DoesNotFit; then nothing has changed.
    """
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise DoesNotFit("another version saved the environments, in another form")
    here = layers(environments)
    if here != state["layers"]:
        raise DoesNotFit(
            f"the state is of {_names(state['layers'])}, "
            f"and the environment consists of {_names(here)}"
        )
    undo: list[Callable[[], None]] = []
    try:
        nodes = [Node(*node) for node in state["nodes"]]
        _fill(Places(environments, nodes), undo)
        _compare(environments, nodes, state["memory"])
    except Exception as problem:  # of an object's own hash, or of a damaged state
        for step in undo:  # in the same order, for the same reason
            step()
        if isinstance(problem, DoesNotFit):
            raise
        raise DoesNotFit(f"the environments' state can't be loaded: {problem}") from problem


def _fill(places: Places, undo: list[Callable[[], None]]) -> None:
    """Fill all objects; append what takes that back to `undo`."""
    nodes = places.nodes
    # A key's hash may need its attributes, so that what asks for hashes is filled last.
    numbers = sorted(range(len(nodes)), key=lambda number: nodes[number].kind.hashes)
    contents = {
        number: (places.object(number), places.data(number), places.children(number))
        for number in numbers
        if not nodes[number].kind.immutable
    }
    # Two arrays may lie in the same memory, so all is noted before anything is written.
    for number, (value, data, _) in contents.items():
        if places.is_taken(number):
            # An array that stays as it is need not be copied.
            stays = data is nodes[number].data
            constants = nodes[number].digests if stays else ()
            undo.append(_restorer(nodes[number].kind, value, constants))
    for number, (value, data, children) in contents.items():
        nodes[number].kind.write(value, data, children)


def _restorer(kind: Kind, value: Any, constants: Any) -> Callable[[], None]:
    data, children = kind.data(value, constants), kind.children(value)
    return lambda: kind.write(value, data, children)


def _compare(environments: Environments, nodes: list[Node], memory: list[Any]) -> None:
    """Save the environments once more. DoesNotFit where that is not what was saved before."""
    digests = {digest for node in nodes for digest in node.digests}
    again = encode(Walk(environments), environments, digests)
    for number, node in enumerate(nodes):
        if number >= len(again["nodes"]) or not same(again["nodes"][number], node.saved):
            raise DoesNotFit(f"{Places.name(nodes, number)} can't be made again as it was")
    both = [*memory, *again["memory"]]
    for place in both:
        if both.count(place) != 2:
            raise DoesNotFit(f"{Places.name(nodes, place[0])} lies in other memory than it did")


def _names(layers_: list[list[str]]) -> str:
    return "; ".join(", ".join(names) for names in layers_)
