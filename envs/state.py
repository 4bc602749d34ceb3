"""Everything an environment will do next, as plain tensors and plain Python: saved, and put back into one made the same way."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterator
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
_CONSTANT_KINDS = ("._ale_py.Action", ".MjModel", ".MujocoRenderer", ".GreyScreen")
_PLAIN = (type(None), bool, int, float, str)
_SETTINGS = ("_saved_kwargs", "_max_episode_steps")  # what gymnasium's wrappers were made with


class Unsaveable(Exception):
    """An environment keeps something of which nobody knows how to save it; one sentence."""


def save_state(env: gym.Env[Any, Any]) -> State:
    """The state of an environment and its wrappers, random numbers included. Unsaveable."""
    return {
        f"{number} {type(layer).__name__}": _save_layer(layer)
        for number, layer in enumerate(_layers(env))
    }


def load_state(env: gym.Env[Any, Any], state: State) -> None:
    """Puts a saved state into an environment that was made in the same way. ValueError if it was not."""
    layers = {
        f"{number} {type(layer).__name__}": layer for number, layer in enumerate(_layers(env))
    }
    if layers.keys() != state.keys():
        raise ValueError(
            f"the state is of {', '.join(state)}, and the environment consists of {', '.join(layers)}"
        )
    for name, layer in layers.items():
        for attribute, saved in state[name].items():
            _load_attribute(layer, attribute, saved)


def _layers(env: gym.Env[Any, Any]) -> Iterator[gym.Env[Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env
    yield env


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
    """A pair (kind, content); None for what never changes. TypeError names what it does not know."""
    kind = f"{type(value).__module__}.{type(value).__name__}"
    if type(value) in _PLAIN:
        return "plain", value
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return "array" if isinstance(value, np.ndarray) else "number", torch.from_numpy(
            np.array(value)
        )
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
    if items and all(item is None for item in items):
        return None
    if None in items:
        raise TypeError(f"a {kind} of what changes and what does not")
    return name, content


def _physics(data: Any) -> State:
    # All of it, and not only what mj_getState gives: rewards are differences of positions that the last step left behind.
    # What differs in size from step to step, contacts and their forces, is computed anew in the next one.
    numbers = (
        (name, getattr(data, name)) for name in dir(data) if not name.startswith(("_", "efc_"))
    )
    arrays = {
        name: torch.from_numpy(value.copy())
        for name, value in numbers
        if isinstance(value, np.ndarray)
    }
    return {"time": data.time, "arrays": arrays}


def _load_attribute(layer: gym.Env[Any, Any], name: str, saved: Any) -> None:
    kind, content = saved
    here = getattr(layer, name, None)
    match kind:
        case "random":
            numbers = _decode(content, None)
            # A layer that has drawn no number yet has no generator, and may have been given one of another kind.
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
            here[...] = content.numpy()  # in place: others may look at the same memory
        case _:
            setattr(layer, name, _decode(saved, here))


def _decode(saved: Any, here: Any) -> Any:
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
