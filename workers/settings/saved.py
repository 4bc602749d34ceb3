"""Configurations that were saved in checkpoints, by this version or an older one."""

from dataclasses import fields
from typing import Any

from workers.settings.config import Config
from workers.settings.errors import OtherVersion


def saved_config(state: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a checkpoint's configuration. OtherVersion if one is unknown."""
    saved: dict[str, Any] = state["config"]
    # Versions without --load normalised PPO's advantages whatever the flag said.
    if saved.get("algo") == "ppo" and "load" not in saved:
        saved = saved | {"normalize_advantages": True}
    unknown = {*saved} - {field.name for field in fields(Config)}
    if unknown:
        raise OtherVersion(
            "the checkpoint has settings that this version does not know "
            f"({', '.join(sorted(unknown))}); use the version that saved it"
        )
    return saved
