"""What is written to disk and screen knows no networks and no processes."""

import ast
from pathlib import Path

from workers import records

FORBIDDEN = ("torch.nn", "multiprocessing", "a3c", "shared_optim", "envs")
FOLDER = Path(records.__file__).parent


def imported_by(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def test_records_import_no_networks_and_no_processes() -> None:
    paths = [*FOLDER.glob("*.py")]
    assert paths
    for path in paths:
        for name in imported_by(path):
            for forbidden in FORBIDDEN:
                assert name != forbidden, f"{path.name} imports {name}"
                assert not name.startswith(forbidden + "."), f"{path.name} imports {name}"


def test_records_import_no_other_room_of_workers() -> None:
    for path in FOLDER.glob("*.py"):
        ours = {name for name in imported_by(path) if name.startswith("workers.")}
        assert all(name.startswith("workers.records") for name in ours), path.name


def test_only_checkpoints_and_versions_need_torch() -> None:
    with_torch = {
        path.name
        for path in FOLDER.glob("*.py")
        if any(name.split(".")[0] == "torch" for name in imported_by(path))
    }
    assert with_torch == {"checkpoint.py", "provenance.py"}
