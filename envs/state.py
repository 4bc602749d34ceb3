"""The state of an environment as plain tensors and plain Python.

A saved state can be put into another environment that was made in the same way; that environment
then does exactly what the first one would have done. Attributes are saved by their names.
"""

from __future__ import annotations

import types
from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

State = dict[str, Any]
_CONSTANT = (
    gym.Space,
    EnvSpec,
    type,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
)
# Types that an environment never changes, by the end of their names.
_CONSTANT_KINDS = ("._ale_py.Action", ".MjModel", ".MujocoRenderer", ".GreyScreen")
_PLAIN = (type(None), bool, int, float, str)
# Constructor arguments that gymnasium's wrappers keep.
_SETTINGS = ("_saved_kwargs", "_max_episode_steps")


class Unsaveable(Exception):
    """An environment holds something of an unknown kind; the message is one sentence."""


def save_state(env: gym.Env[Any, Any]) -> State:
    """Return the state of an environment and its wrappers, with their random generators.

    Raises Unsaveable.
    """
    return {name: _save_layer(layer) for name, layer in _layers(env).items()}


def load_state(env: gym.Env[Any, Any], state: State) -> None:
    """Put a saved state into an environment that was made in the same way.

    Raises ValueError if it was made differently.
    """
    layers = _layers(env)
    if layers.keys() != state.keys():
        raise ValueError(
            f"the state is of {', '.join(state)}, "
            f"and the environment consists of {', '.join(layers)}"
        )
    for name, layer in layers.items():
        for attribute, saved in state[name].items():
            _load_attribute(layer, attribute, saved)


def _layers(env: gym.Env[Any, Any]) -> dict[str, gym.Env[Any, Any]]:
    """Return the wrappers, outermost first, and the environment, each by number and type."""
    layers = [env]
    while isinstance(env, gym.Wrapper):
        env = env.env
        layers.append(env)
    return {f"{number} {type(layer).__name__}": layer for number, layer in enumerate(layers)}


def _save_layer(layer: gym.Env[Any, Any]) -> State:
    result = {}
    for name, value in vars(layer).items():
        if name in _SETTINGS or (name == "env" and isinstance(layer, gym.Wrapper)):
            continue
        try:
            result[name] = _encode(value)
        except TypeError as problem:
            raise Unsaveable(
                f"{type(layer).__name__} keeps {problem} in {name!r}, which can't be saved"
            ) from None
    return {name: saved for name, saved in result.items() if saved is not None}


def _encode(value: Any) -> Any:
    """Return a pair (kind, content), or None for a value that never changes.

    Raises TypeError, with the type's name as its message, for an unknown type.
    """
    kind = f"{type(value).__module__}.{type(value).__name__}"
    if type(value) in _PLAIN:
        return "plain", value
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        name = "array" if isinstance(value, np.ndarray) else "number"
        return name, torch.from_numpy(np.array(value))
    if isinstance(value, np.random.Generator):
        return "random", _encode(value.bit_generator.state)
    if type(value) in (list, tuple, deque):
        items = [_encode(item) for item in value]
        return _unless_constant(type(value).__name__, items, items, kind)
    if type(value) is dict:
        pairs = [[_encode(key), _encode(item)] for key, item in value.items()]
        return _unless_constant("dict", pairs, [item for _, item in pairs], kind)
    if kind.endswith("ALEInterface"):
        return "emulator", value.cloneState(include_rng=True).serialize()
    if kind == "mujoco._structs.MjData":
        return "physics", _physics(value)
    if isinstance(value, _CONSTANT) or kind.endswith(_CONSTANT_KINDS):
        return None
    raise TypeError(f"a {kind}")


def _unless_constant(name: str, content: list[Any], items: list[Any], kind: str) -> Any:
    """Return (name, content), or None if all encoded `items` are constants.

    Raises TypeError if only some of them are.
    """
    if items and all(item is None for item in items):
        return None
    if None in items:
        raise TypeError(f"a {kind} of what changes and what does not")
    return name, content


def _physics(data: Any) -> State:
    # mj_getState would not be enough: rewards are differences to positions that the last step left
    # in other arrays. Contacts and their forces, whose size changes from step to step, are left
    # out: the next step computes them anew.
    names = [name for name in dir(data) if not name.startswith(("_", "efc_"))]
    values = {name: getattr(data, name) for name in names}
    arrays = {
        name: torch.from_numpy(value.copy())
        for name, value in values.items()
        if isinstance(value, np.ndarray)
    }
    return {"time": data.time, "arrays": arrays}


def _load_attribute(layer: gym.Env[Any, Any], name: str, saved: Any) -> None:
    """Set one attribute, in place where the object is shared or cannot be made anew."""
    kind, content = saved
    here = getattr(layer, name, None)
    match kind:
        case "random":
            numbers = _decode(content, None)
            # A layer that has drawn no number yet has no generator, and a user may have replaced
            # the generator by one of another kind.
            if here is None or type(here.bit_generator).__name__ != numbers["bit_generator"]:
                here = np.random.Generator(getattr(np.random, numbers["bit_generator"])())
                setattr(layer, name, here)
            here.bit_generator.state = numbers
        case "emulator":
            from ale_py import ALEState

            here.restoreState(ALEState(content))  # type: ignore[union-attr]
        case "physics":
            here.time = content["time"]  # type: ignore[union-attr]
            for field, values in content["arrays"].items():
                target = getattr(here, field)
                if target.shape == tuple(values.shape):
                    target[...] = values.numpy()
        case "array" if isinstance(here, np.ndarray) and here.shape == tuple(content.shape):
            here[...] = content.numpy()  # in place: other objects may share the memory
        case _:
            setattr(layer, name, _decode(saved, here))


def _decode(saved: Any, here: Any) -> Any:
    """Return the value of a pair (kind, content); `here` is the value that it replaces."""
    kind, content = saved
    match kind:
        case "array":
            return content.numpy().copy()
        case "number":
            return content.numpy()[()]
        case "list":
            return [_decode(item, None) for item in content]
        case "tuple":
            return tuple(_decode(item, None) for item in content)
        case "deque":
            return deque((_decode(item, None) for item in content), maxlen=here.maxlen)
        case "dict":
            return {_decode(key, None): _decode(item, None) for key, item in content}
    return content
