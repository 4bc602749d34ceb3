"""What classes hold. It is not saved, so that a class whose attributes change is refused."""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from enum import Enum
from typing import Any

import numpy as np
import torch

from envs.state.kinds import PLAIN
from envs.state.walk import Walk

_HOLDERS = {*PLAIN, list, dict, set, deque, OrderedDict, defaultdict, np.ndarray}
_LIBRARIES = {*sys.stdlib_module_names, "gymnasium", "numpy", "torch", "ale_py", "mujoco"}


def class_digests(values: Iterable[Any]) -> dict[str, str]:
    """Return digests of what the classes among `values` and their bases hold, by full names."""
    classes = {base for value in values if isinstance(value, type) for base in value.__mro__}
    return {
        f"{cls.__module__}.{cls.__qualname__}.{name}": _digest(held)
        for cls in classes
        if cls.__module__.partition(".")[0] not in _LIBRARIES and not issubclass(cls, Enum)
        for name, held in vars(cls).items()
        if type(held) in _HOLDERS and not name.startswith("__")
    }


def _digest(held: Any) -> str:
    walk = Walk([held])
    parts = [] if walk.values else [held]
    for value, kind, children in zip(walk.values, walk.kinds, walk.children, strict=True):
        try:
            parts.append([kind.name, kind.label(value), _in_full(kind.data(value, None))])
        except TypeError:  # it could not be saved
            parts.append(kind.name)
        parts += [
            (edge, child if type(child) in PLAIN else walk.find(child)) for edge, child in children
        ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _in_full(data: Any) -> Any:
    """Return data whose repr leaves nothing out."""
    if isinstance(data, torch.Tensor):
        return data.numpy().tobytes()
    if isinstance(data, list | tuple):
        return [_in_full(item) for item in data]
    return {key: _in_full(item) for key, item in data.items()} if isinstance(data, dict) else data
