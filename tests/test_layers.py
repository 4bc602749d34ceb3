"""Who may import whom: main -> workers -> {a3c, shared_optim, envs}.

`a3c/__main__.py` is no part of its folder: Python wants the door of `python -m a3c` there.
The three leaves know nothing of each other. Inside the folders, imports point one way, too.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("a3c", "shared_optim", "envs", "workers")
OURS = {*FOLDERS, "main", "enjoy", "benchmarks", "examples", "tests"}
MAY_IMPORT = {
    "a3c": {"a3c"},
    "shared_optim": {"shared_optim"},
    "envs": {"envs"},
    "workers": set(FOLDERS),
}
DOOR = ROOT / "a3c/__main__.py"
# Folder (a pattern of its files) -> what none of them imports, nor anything inside it.
MUST_NOT_IMPORT = {
    "a3c/**/*.py": {"multiprocessing", "gymnasium", "os", "pathlib", "ale_py"},
    "a3c/*.py": {"a3c.fast"},
    "a3c/networks/*.py": {"numpy", "a3c.fast", "a3c.segment"},
    "a3c/fast/*.py": {
        "a3c.acktr",
        "a3c.advantage_actor_critic",
        "a3c.algorithm",
        "a3c.ppo",
        "a3c.segment",
    },
    "workers/records/*.py": {"a3c", "multiprocessing"},
    "workers/settings/**/*.py": {"workers.supervision"},
}


def modules_imported_by(path: Path) -> set[str]:
    """Dotted names of modules; of `from a import b` both a and a.b, which may be a module."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path} imports relatively"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def packages_imported_by(path: Path) -> set[str]:
    return {name.split(".")[0] for name in modules_imported_by(path)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_downwards(folder):
    paths = [path for path in (ROOT / folder).rglob("*.py") if path != DOOR]
    assert paths
    for path in paths:
        assert packages_imported_by(path) & OURS <= MAY_IMPORT[folder], (
            f"{path.name} imports what it must not know"
        )


@pytest.mark.parametrize("pattern", MUST_NOT_IMPORT)
def test_rooms_know_nothing_of_what_stands_above_or_beside_them(pattern):
    paths = [path for path in ROOT.glob(pattern) if path != DOOR]
    assert paths
    for path in paths:
        for name in modules_imported_by(path):
            inside = {name, *(name[:i] for i, letter in enumerate(name) if letter == ".")}
            assert not inside & MUST_NOT_IMPORT[pattern], f"{path} imports {name}"


def test_the_door_of_python_m_leads_to_the_scripts_only():
    assert modules_imported_by(DOOR) == {"sys", "pathlib", "pathlib.Path", "enjoy", "main"}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert "a3c.__main__" not in modules_imported_by(path)


def test_the_checks_of_imports_see_submodules():
    fast, papers = ROOT / "a3c/fast/network.py", ROOT / "a3c/ppo.py"
    assert "a3c.networks.actor_critic" in modules_imported_by(fast)
    assert {"a3c.segment", "a3c.segment.Segment"} <= modules_imported_by(papers)


def test_main_is_light():
    """Spawned children import main.py anew; what it imports at the top, each of them pays for."""
    tops = [
        node
        for node in ast.parse((ROOT / "main.py").read_text()).body
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in tops
    }
    assert modules == {"os", "signal", "sys"}
    heavy = packages_imported_by(ROOT / "workers" / "process.py")
    assert not heavy & {"numpy", "gymnasium", "matplotlib"}


def test_files_stay_short():
    paths = [
        *ROOT.glob("*.py"),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")),
    ]
    for path in paths:
        assert len(path.read_text().splitlines()) <= 300, path
