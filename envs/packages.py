"""Well-known packages of environments: which ids are theirs, and how they are installed."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """Importing `module` registers the ids that match `ids`."""

    module: str
    ids: str  # a regular expression of a whole id
    install: str  # the arguments of pip install
    needs: tuple[str, ...] = ()  # modules without which it registers less, and says nothing


PACKAGES = (
    Package("minigrid", r"(MiniGrid|BabyAI)-.+", "minigrid"),
    Package("pybullet_envs_gymnasium", r"\w+BulletEnv-v\d+", "pybullet_envs_gymnasium"),
    Package("shimmy", r"dm_control/.+", "shimmy dm-control 'mujoco<4'", needs=("dm_control",)),
    Package("shimmy", r"bsuite/.+", "shimmy bsuite", needs=("bsuite",)),
    Package(
        "highway_env",
        r"(highway|merge|roundabout|parking|intersection|racetrack|exit|lane-keeping|two-way|u-turn)"
        r"(-\w+)*-v\d+",
        "highway-env",
    ),
    Package(
        "gymnasium_robotics",
        r"(Fetch|HandReach|HandManipulate|PointMaze|AntMaze|Adroit|FrankaKitchen).+",
        "gymnasium-robotics",
    ),
    Package("panda_gym", r"Panda(Reach|Push|Slide|PickAndPlace|Stack|Flip).*-v\d+", "panda-gym"),
    Package("miniworld", r"MiniWorld-.+", "miniworld"),
    Package("flappy_bird_gymnasium", r"FlappyBird-v\d+", "flappy-bird-gymnasium"),
    Package("metaworld", r"Meta-World/.+", "metaworld"),
    Package("vizdoom", r"Vizdoom.+", "vizdoom"),
    Package("gym_pusht", r"gym_pusht/.+", "gym-pusht"),
    Package("gym_aloha", r"gym_aloha/.+", "gym-aloha"),
    Package("gym_xarm", r"gym_xarm/.+", "gym-xarm"),
)


def package_of(env_id: str) -> Package | None:
    """Return the package that an id belongs to, by the id's form.

    An id of the form `name/...` may belong to any package that is installed and has that name.
    """
    for package in PACKAGES:
        if re.fullmatch(package.ids, env_id):
            return package
    namespace, slash, _ = env_id.partition("/")
    if slash and namespace.isidentifier() and _is_installed(namespace):
        return Package(namespace, re.escape(namespace) + "/.+", namespace)
    return None


def installed_by(module: str) -> str | None:
    """Return what to give to pip for a module of a well-known package, or for one it needs."""
    for package in PACKAGES:
        if module in (package.module, *package.needs):
            return package.install
    return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of a module that was imported in an unusual way
        return False
