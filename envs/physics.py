"""What MuJoCo's environments need beside gymnasium: warnings, rendering and the camera."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any

import gymnasium as gym


def default_gl() -> None:
    """Let MuJoCo render through EGL on a Linux without a display, unless MUJOCO_GL is set."""
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not has_display:
        os.environ.setdefault("MUJOCO_GL", "egl")


def choose_gl() -> None:
    """Do as `default_gl` for a package that chooses once, when it is imported.

    Such a package cannot be imported where EGL is chosen and does not work: try it first.
    """
    if "MUJOCO_GL" in os.environ:
        return
    default_gl()
    if os.environ.get("MUJOCO_GL") == "egl":
        try:
            importlib.import_module("mujoco.egl")
        except Exception:  # without EGL, everything may fail here; there is no video then
            del os.environ["MUJOCO_GL"]


def quieten_mujoco() -> None:
    """Send MuJoCo's warnings to `logging`.

    Without a handler, MuJoCo writes them to a file MUJOCO_LOG.TXT in the current folder.
    """
    try:
        import mujoco  # type: ignore[import-untyped]
    except ImportError:
        return  # Making the environment will fail, with a message that says what to install.
    mujoco.set_mju_user_warning(_log_mujoco_warning)


def render_faster(env: gym.Env[Any, Any]) -> None:
    """Render MuJoCo without shadows: six to nine times faster where the processor draws."""
    quality = getattr(getattr(getattr(env.unwrapped, "model", None), "vis", None), "quality", None)
    if quality is not None:
        quality.shadowsize = 0
        quality.offsamples = 0


def follow_body(env: gym.Env[Any, Any]) -> None:
    """Render through the model's own moving camera.

    The camera of gymnasium 1.4 stays where the body was at first.
    """
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    if renderer is None:
        return
    import mujoco

    camera = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if camera >= 0:
        renderer.camera_id = camera


def _log_mujoco_warning(message: str) -> None:
    level = logging.DEBUG if "deprecated" in message else logging.WARNING
    logging.getLogger(__name__).log(level, "MuJoCo: %s", message)
