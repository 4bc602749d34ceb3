"""Who may import whom: main -> workers -> {a3c, shared_optim, envs}; the three leaves know nothing of each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("a3c", "shared_optim", "envs", "workers")
MAY_IMPORT = {
    "a3c": {"a3c"},
    "shared_optim": {"shared_optim"},
    "envs": {"envs"},
    "workers": set(FOLDERS),
}


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_downwards(folder):
    paths = [*(ROOT / folder).rglob("*.py")]
    assert paths
    ours = {*FOLDERS, "main", "enjoy", "benchmarks", "tests"}
    for path in paths:
        assert imported_by(path) & ours <= MAY_IMPORT[folder], (
            f"{path.name} imports what it must not know"
        )


def test_the_mathematics_knows_no_processes_files_or_environments():
    for path in (ROOT / "a3c").rglob("*.py"):
        assert not imported_by(path) & {"multiprocessing", "gymnasium", "os", "pathlib", "ale_py"}


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
    assert modules == {"os", "signal", "sys", "workers.process"}
    heavy = imported_by(ROOT / "workers" / "process.py") & {"numpy", "gymnasium", "matplotlib"}
    assert not heavy


def test_files_stay_short():
    paths = [
        *ROOT.glob("*.py"),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")),
    ]
    for path in paths:
        assert len(path.read_text().splitlines()) <= 300, path
