"""Checkpoints survive kills, rot, full disks and forgeries."""

import collections
import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from workers.records import checkpoint
from workers.records.checkpoint import (
    CheckpointError,
    checkpoint_path,
    digest_path,
    latest,
    load,
    rotate,
    save,
)

ROOT = Path(checkpoint.__file__).parents[2]


def state_of(steps: int) -> dict[str, Any]:
    return {
        "steps": steps,
        "flat": torch.full((1000,), float(steps)),
        "config": {"lr": 1e-4, "names": ["a", None]},
    }


def save_three(directory: Path) -> list[Path]:
    paths = [checkpoint_path(directory, steps) for steps in (100, 200, 300)]
    for path, steps in zip(paths, (100, 200, 300), strict=True):
        save(path, state_of(steps))
    return paths


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_round_trip(tmp_path: Path) -> None:
    path = checkpoint_path(tmp_path, 12_000_000)
    assert path.name == "checkpoint_000012000000.pt"
    state = state_of(12_000_000) | {
        "rng": random.Random(0).getstate(),
        "torch_rng": torch.get_rng_state(),
    }
    state["numpy_rng"] = np.random.default_rng(0).bit_generator.state
    save(path, state)
    loaded = load(path)
    assert torch.equal(loaded.pop("flat"), state.pop("flat"))
    assert torch.equal(loaded.pop("torch_rng"), state.pop("torch_rng"))
    assert loaded == state | {"format_version": checkpoint.FORMAT_VERSION}
    digest = json.loads(digest_path(path).read_text())
    assert digest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (digest["steps"], digest["bytes"], digest["format_version"]) == (
        12_000_000,
        path.stat().st_size,
        checkpoint.FORMAT_VERSION,
    )
    assert sorted(os.listdir(tmp_path)) == [path.name, path.name + ".json"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_one_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose_digest(path: Path) -> None:
    digest_path(path).unlink()


def garble_digest(path: Path) -> None:
    digest_path(path).write_text("[1, 2")


DAMAGES = [truncate, empty, flip_one_bit, lose_digest, garble_digest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_newest_is_skipped_with_a_warning(tmp_path: Path, damage: Any) -> None:
    *_, before, newest = save_three(tmp_path)
    damage(newest)
    path, state, warnings = latest(tmp_path)
    assert path == before
    assert state["steps"] == 200
    assert len(warnings) == 1
    assert newest.name in warnings[0]


def test_all_damaged_is_an_error(tmp_path: Path) -> None:
    for path, damage in zip(save_three(tmp_path), DAMAGES, strict=False):
        damage(path)
    with pytest.raises(CheckpointError, match="None of the 3 checkpoints"):
        latest(tmp_path)


def test_no_checkpoint_is_an_error(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match="There is no checkpoint"):
            latest(directory)


def test_without_digest_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "copied.pt"
    save(path, state_of(5))
    lose_digest(path)
    assert load(path, require_digest=False)["steps"] == 5
    with pytest.raises(CheckpointError, match=r"has no copied\.pt\.json"):
        load(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(tmp_path / "absent.pt")


def test_wrong_digest_counts_even_when_none_is_required(tmp_path: Path) -> None:
    path = save_three(tmp_path)[0]
    flip_one_bit(path)
    with pytest.raises(CheckpointError, match="do not match"):
        load(path, require_digest=False)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj))]
)
def test_malicious_pickle_is_refused_and_not_executed(tmp_path: Path, write: Any) -> None:
    path, marker = checkpoint_path(tmp_path, 1), tmp_path / "executed"
    write({"steps": 1, "format_version": checkpoint.FORMAT_VERSION, "x": Bomb(marker)}, path)
    digest = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format_version": checkpoint.FORMAT_VERSION,
    }
    digest_path(path).write_text(json.dumps(digest))
    with pytest.raises(CheckpointError, match="damaged or holds more"):
        load(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("version", "fix"),
    [(99, "newer .* update the program"), (1, "older .* use the version that saved it")],
)
def test_other_formats_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, fix: str
) -> None:
    path = tmp_path / "other.pt"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", version)
        save(path, state_of(1))
    with pytest.raises(CheckpointError, match=fix):
        load(path)
    lose_digest(path)
    with pytest.raises(CheckpointError, match=fix):
        load(path, require_digest=False)


def test_foreign_file_is_named(tmp_path: Path) -> None:
    torch.save({"steps": 1}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="not saved by this program"):
        load(tmp_path / "foreign.pt", require_digest=False)


POINT = collections.namedtuple("POINT", "x y")


@pytest.mark.parametrize(
    "value",
    [
        np.float64(1.0),
        np.zeros(2),
        Path("x"),
        collections.deque([1]),
        POINT(1, 2),
        torch.nn.Linear(1, 1),
        {np.int64(1): 2},
    ],
)
def test_what_cannot_be_loaded_safely_is_not_saved(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"state\['nested'\]"):
        save(tmp_path / "a.pt", {"steps": 1, "nested": [value]})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_tensors_are_not_saved(tmp_path: Path, value: float) -> None:
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        save(tmp_path / "a.pt", {"steps": 1, "flat": torch.tensor([1.0, value])})
    save(tmp_path / "a.pt", {"steps": 1, "best": -float("inf")})


def test_rotate_keeps_the_newest_and_cleans_up(tmp_path: Path) -> None:
    paths = save_three(tmp_path)
    (tmp_path / ".checkpoint_000000000400.pt.tmp").write_bytes(b"half")
    digest_path(checkpoint_path(tmp_path, 400)).write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    rotate(tmp_path, keep=2)
    kept = [path.name for path in paths[1:]]
    assert sorted(os.listdir(tmp_path)) == sorted(
        [*kept, *(name + ".json" for name in kept), "notes.txt"]
    )
    rotate(tmp_path, keep=0)
    assert latest(tmp_path)[1]["steps"] == 300


def test_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best.pt"
    save(path, state_of(1))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, interrupted)
            with pytest.raises(KeyboardInterrupt):
                save(path, state_of(2))
        assert load(path)["steps"] == 1
        assert sorted(os.listdir(tmp_path)) == ["best.pt", "best.pt.json"]


def test_between_the_two_renames_the_old_file_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.pt"
    save(path, state_of(1))
    replace = os.replace

    def die_before_the_second(source: Any, target: Any) -> None:
        if Path(target) == path:
            raise OSError("killed here")
        replace(source, target)

    for steps in (2, 3):  # twice: a file that was never renamed is not the one being replaced
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", die_before_the_second)
            with pytest.raises(CheckpointError, match="killed here"):
                save(path, state_of(steps))
        assert json.loads(digest_path(path).read_text())["steps"] == steps
        assert load(path)["steps"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_full_disk_leaves_earlier_checkpoints(tmp_path: Path) -> None:
    code = """
        import resource, sys, torch
        from pathlib import Path
        from workers.records import checkpoint
        folder = Path(sys.argv[1])
        state = {"steps": 1, "flat": torch.zeros(10)}
        checkpoint.save(checkpoint.checkpoint_path(folder, 1), state)
        checkpoint.save(folder / "best.pt", state)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        for path in (checkpoint.checkpoint_path(folder, 2), folder / "best.pt"):
            try:
                checkpoint.save(path, {"steps": 2, "flat": torch.zeros(100_000)})
            except checkpoint.CheckpointError as error:
                assert "could not be written" in str(error), error
            else:
                raise SystemExit("no error")
    """
    done = run_python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert latest(tmp_path)[1]["steps"] == 1
    assert load(tmp_path / "best.pt")["steps"] == 1
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_kill_at_any_moment_leaves_a_verified_checkpoint(tmp_path: Path) -> None:
    code = f"""
        import os, random, signal, sys, time, torch
        from pathlib import Path
        from workers.records import checkpoint
        torch.set_num_threads(1)
        folder = Path(sys.argv[1])
        random.seed(0)
        done = start = 0
        for attempt in range(400):
            if attempt >= 40 and done > 10:
                break
            read, write = os.pipe()
            child = os.fork()
            if child == 0:
                for steps in range(start + 1, start + 10**6):
                    state = {{"steps": steps, "flat": torch.full((20_000,), float(steps))}}
                    checkpoint.save(checkpoint.checkpoint_path(folder, steps), state)
                    checkpoint.save(folder / "best.pt", state)
                    os.write(write, steps.to_bytes(8, "little"))
                    checkpoint.rotate(folder)
            os.close(write)
            # On a busy machine a save takes longer, and so would 10 of them.
            time.sleep(random.uniform(0.005, 0.08) * (1 + attempt / 40))
            os.kill(child, {int(signal.SIGKILL)})
            os.waitpid(child, 0)
            reported = os.read(read, 2**16)
            os.close(read)
            done = int.from_bytes(reported[-8:], "little") if reported else done
            if done:
                path, state, warnings = checkpoint.latest(folder)
                # A kill may come after a save and before its report.
                seen = (done, start, state["steps"])
                assert done <= state["steps"] <= max(done, start) + 1 and not warnings, seen
                best = checkpoint.load(folder / "best.pt")
                assert done <= best["steps"] <= state["steps"], (done, best["steps"])
                assert (best["flat"] == best["steps"]).all()
                start = state["steps"]
        assert done > 10, done
        checkpoint.rotate(folder)
        assert len(list(folder.glob("checkpoint_*.pt"))) == 3
        assert not list(folder.glob(".checkpoint*"))
    """
    done = run_python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
