"""Old ids that people still type, and the ids that replace them today."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Alias:
    """A registered id that behaves as an old one did, and a note for the user."""

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    ram: bool = False
    note: str | None = None


_ATARI = re.compile(
    r"(?P<game>[A-Za-z0-9]+?)(?P<ram>-ram)?(?P<skip>Deterministic|NoFrameskip)?-v(?P<version>[04])"
)
_ATARI_RAM_V5 = re.compile(r"ALE/(?P<game>[A-Za-z0-9]+)-ram-v5")
_DM_CONTROL = re.compile(r"dm\.(?P<domain>\w+)\.(?P<task>\w+)")
_MUJOCO = re.compile(r"(?P<name>[A-Za-z0-9]+)-v[123]")

# For each MuJoCo task, the version that keeps the observations and rewards of the removed
# versions -v1, -v2 and -v3.
_MUJOCO_VERSIONS = {
    "Ant": "v4",
    "HalfCheetah": "v4",
    "Hopper": "v4",
    "Humanoid": "v4",
    "HumanoidStandup": "v4",
    "InvertedDoublePendulum": "v4",
    "InvertedPendulum": "v4",
    "Pusher": "v5",
    "Reacher": "v4",
    "Swimmer": "v4",
    "Walker2d": "v4",
}
_MUJOCO_CHANGES = {
    "Ant": (
        "27 observations instead of 111: the contact forces come back with use_contact_forces=True"
    ),
    "Pusher": (
        "same observations, but a heavier object and rewards taken after the step, "
        "so returns differ a little"
    ),
}
_RENAMED = {
    "LunarLander-v2": "LunarLander-v3",
    "LunarLanderContinuous-v2": "LunarLanderContinuous-v3",
    "Pendulum-v0": "Pendulum-v1",
    "BipedalWalker-v2": "BipedalWalker-v3",
    "BipedalWalkerHardcore-v2": "BipedalWalkerHardcore-v3",
    "CarRacing-v2": "CarRacing-v3",
    "Acrobot-v0": "Acrobot-v1",
    "Taxi-v3": "Taxi-v4",
}


def describe_emulation(*, frameskip: int | tuple[int, int], sticky: float) -> str:
    """Return one phrase that says how the emulator repeats actions.

    A pair `frameskip` (low, high) is half open, as in the ALE.
    """
    if isinstance(frameskip, int):
        skip = f"frameskip {frameskip}"
    else:
        low, high = frameskip
        skip = f"frameskip {low}-{high - 1} at random"
    return f"{skip} and {f'sticky actions {sticky:g}' if sticky else 'no sticky actions'}"


def dm_control_id(env_name: str) -> str | None:
    """Return `dm_control/hopper-stand-v0` for `dm.hopper.stand`; None for any other form."""
    match = _DM_CONTROL.fullmatch(env_name)
    return f"dm_control/{match['domain']}-{match['task']}-v0" if match else None


def find_alias(env_name: str, *, registered: Container[str]) -> Alias | None:
    """Return what replaces an id that is gone, or is registered and no longer works.

    Return None for any other id.
    """
    return (
        _atari(env_name, registered)
        or _mujoco(env_name, registered)
        or _renamed(env_name, registered)
    )


def _atari(env_name: str, registered: Container[str]) -> Alias | None:
    if match := _ATARI_RAM_V5.fullmatch(env_name):
        id_ = f"ALE/{match['game']}-v5"
        note = f"{env_name} is no longer registered: using {id_} with RAM observations"
        return Alias(id_, ram=True, note=note) if id_ in registered else None
    match = _ATARI.fullmatch(env_name)
    if match is None or env_name in registered or f"ALE/{match['game']}-v5" not in registered:
        return None
    ram = match["ram"] is not None
    kwargs: dict[str, Any] = {}
    differences: list[str] = []
    if match["skip"] == "Deterministic":
        sticky = 0.25 if match["version"] == "0" else 0.0
        # At 4 frames a step the lasers of Space Invaders are invisible, so its Deterministic ids
        # skipped 3 frames (Mnih et al., 2013).
        skip = 3 if match["game"] == "SpaceInvaders" else 4
        id_ = f"ALE/{match['game']}-v5"
        kwargs = {"frameskip": skip, "repeat_action_probability": sticky}
        differences = [describe_emulation(frameskip=skip, sticky=sticky)]
    else:
        id_ = f"{match['game']}{match['skip'] or ''}-v{match['version']}"
        if id_ not in registered:
            return None
    differences += ["RAM observations"] * ram
    note = f"{env_name} is no longer registered: using {id_} with {' and '.join(differences)}"
    return Alias(id_, kwargs, ram=ram, note=note)


def _mujoco(env_name: str, registered: Container[str]) -> Alias | None:
    match = _MUJOCO.fullmatch(env_name)
    # Pusher-v4 is registered, but does not work.
    name = "Pusher" if env_name == "Pusher-v4" else match["name"] if match else ""
    id_ = f"{name}-{_MUJOCO_VERSIONS.get(name)}"
    if name not in _MUJOCO_VERSIONS or id_ not in registered:
        return None
    changes = _MUJOCO_CHANGES.get(name, "same observations and rewards")
    note = f"{env_name} no longer works with today's mujoco: using {id_} ({changes})"
    return Alias(id_, note=note)


def _renamed(env_name: str, registered: Container[str]) -> Alias | None:
    id_ = _RENAMED.get(env_name)
    if id_ is None or env_name in registered or id_ not in registered:
        return None
    return Alias(id_, note=f"{env_name} is no longer available: using {id_}")
