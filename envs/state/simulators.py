"""What a simulator keeps in memory of its own, and objects that have no part in what happens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from envs.state.arrays import address, digest, is_foreign, to_tensor
from envs.state.kinds import Children, Kind, kind_name

# Arrays of MuJoCo's whose size changes from step to step: contacts, their forces, and islands of
# bodies that touch. The next step computes them anew.
_COMPUTED = (
    *("_", "efc_", "iefc_", "efm_", "iacc", "ifrc_"),
    *("island_", "dof_island", "tree_island", "map_"),
)


class _Emulator(Kind):
    """The Arcade Learning Environment."""

    name = "emulator"
    fixed = True

    def fits(self, value: Any) -> bool:
        return kind_name(value) == "ale_py._ale_py.ALEInterface"

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        return value.cloneState(include_rng=True).serialize()

    def write(self, value: Any, data: Any, children: Children) -> None:
        from ale_py import ALEState

        value.restoreState(ALEState(data))


class _Physics(Kind):
    """MuJoCo's data: all arrays, because rewards are made of what the last step left in them."""

    name = "physics"
    fixed = True

    def fits(self, value: Any) -> bool:
        return kind_name(value) == "mujoco._structs.MjData"

    def label(self, value: Any) -> Any:
        return [[name, array.shape, array.dtype.str] for name, array in _arrays(value).items()]

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        arrays = {name: to_tensor(array) for name, array in _arrays(value).items()}
        return [{name: getattr(value, name) for name in _flags(value)}, arrays]

    def write(self, value: Any, data: Any, children: Children) -> None:
        flags, arrays = data
        for name, array in _arrays(value).items():
            array[...] = np.frombuffer(arrays[name].numpy(), array.dtype).reshape(array.shape)
        for name in _flags(value):
            setattr(value, name, flags[name])


def _arrays(data: Any) -> dict[str, Any]:
    names = [name for name in dir(data) if not name.startswith(_COMPUTED)]
    values = {name: getattr(data, name) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def _flags(data: Any) -> list[str]:
    return ["time", *(name for name in dir(data) if name.startswith("flg_"))]


def shared_memory(values: Sequence[Any]) -> list[list[Any]]:
    """Return which arrays of another's memory share it, and which lie in MuJoCo's arrays.

    Elements are [number, number, bytes from one start to the other], or [number, number, name].
    """
    known = [(n, value) for n, value in enumerate(values) if is_foreign(value)]
    result: list[list[Any]] = [
        [n, m, address(value) - address(other)]
        for n, value in known
        for m, other in known
        if m < n and np.may_share_memory(value, other)
    ]
    for m, data in enumerate(values):
        if known and _Physics().fits(data):
            starts = {address(array): name for name, array in _arrays(data).items() if array.size}
            result += [[n, m, starts.get(address(value), "")] for n, value in known]
    return result


class _Model(Kind):
    """MuJoCo's model, which is not saved: one that has not changed since it was made."""

    name = "model"
    fixed = True

    def fits(self, value: Any) -> bool:
        return kind_name(value) == "mujoco._structs.MjModel"

    def data(self, value: Any, constants: Collection[str] | None) -> Any:
        known = model_digest(value)
        if constants is not None and known not in constants:
            raise TypeError("a MuJoCo model that has changed since it was made")
        return known


def is_model(value: Any) -> bool:
    """Return whether `value` is a MuJoCo model."""
    return _Model().fits(value)


def model_digest(model: Any) -> str:
    """Return a digest of all numbers of a MuJoCo model."""
    import mujoco  # type: ignore[import-untyped]

    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return digest(buffer)


class _Aside(Kind):
    """What has no part in what happens: how an environment was registered, and its renderer."""

    name = "aside"
    fixed = True

    def fits(self, value: Any) -> bool:
        return isinstance(value, EnvSpec) or kind_name(value).endswith(".MujocoRenderer")

    def label(self, value: Any) -> Any:
        return kind_name(value)


KINDS: tuple[Kind, ...] = (_Emulator(), _Physics(), _Model(), _Aside())
