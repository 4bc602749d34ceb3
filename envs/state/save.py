"""Save the graph of objects that environments hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import gymnasium as gym

from envs.state import arrays, simulators
from envs.state.classes import class_digests
from envs.state.kinds import PLAIN, Unsaveable
from envs.state.walk import Walk, sentence

State = dict[str, Any]
Environments = Sequence[gym.Env[Any, Any]]

VERSION = 2


def constants_of(environments: Environments) -> frozenset[str]:
    """Return the digests of what new environments hold that is not saved unless it changes.

    These are big arrays, models, and the attributes of classes. None is known if an object of
    theirs can't even be looked at; training must not fail for that.
    """
    try:
        return _digests(Walk(environments).values)
    except Exception:
        return frozenset()


def _digests(values: Sequence[Any]) -> frozenset[str]:
    big = [arrays.digest(arrays.memory_of(value)) for value in values if arrays.is_big(value)]
    models = [simulators.model_digest(value) for value in values if simulators.is_model(value)]
    classes = [f"{name} {digest}" for name, digest in class_digests(values).items()]
    return frozenset(big + models + classes)


def save_states(environments: Environments, constants: Collection[str] | None = None) -> State:
    """Return the state of environments, with their wrappers and random generators.

    Of what is in `constants`, the `constants_of` the environments when they were made, only
    digests are saved. Raises Unsaveable.
    """
    try:
        walk = Walk(environments)
        _refuse_changed_classes(walk, constants or ())
        return encode(walk, environments, constants)
    except Unsaveable:
        raise
    except Exception as problem:  # an object of theirs that can't even be looked at
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise Unsaveable(f"{type(environments[0]).__name__} can't be saved ({reason})") from problem


def _refuse_changed_classes(walk: Walk, constants: Collection[str]) -> None:
    known = {name for name, _, _ in (constant.partition(" ") for constant in constants)}
    for name, digest in class_digests(walk.values).items():
        if name in known and f"{name} {digest}" not in constants:
            raise Unsaveable(
                f"the environment changes {name}, an attribute of its class, which can't be saved: "
                "make it an attribute of the object"
            )


def encode(walk: Walk, environments: Environments, constants: Collection[str] | None) -> State:
    """Return the state that a walk has found. Unsaveable."""
    nodes = [_node(walk, number, constants) for number in range(len(walk.values))]
    if walk.problem is not None:
        raise Unsaveable(walk.problem)
    return {
        "version": VERSION,
        "layers": layers(environments),
        "nodes": nodes,
        "memory": simulators.shared_memory(walk.values),
    }


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
