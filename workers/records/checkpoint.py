"""Checkpoints of plain tensors and plain Python.

They are written whole or not at all, and verified before they are used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from workers.records.atomic import replacing, write_json
from workers.records.faults import fix, reason

# 2: separate networks of actor and critic for vector observations; statistics of returns.
FORMAT_VERSION = 2

_NAME = re.compile(r"checkpoint_(\d{12})\.pt")
_LEAVES = (type(None), bool, int, float, str, bytes)
_TENSORS = (torch.Tensor, torch.nn.Parameter)


class CheckpointError(Exception):
    """A checkpoint that cannot be written or used; the message is one sentence with its fix."""


def checkpoint_path(directory: Path, steps: int) -> Path:
    """Name the checkpoint of `steps` environment steps."""
    return directory / f"checkpoint_{steps:012d}.pt"


def digest_path(path: Path) -> Path:
    """Name the file beside a checkpoint that contains its sha256."""
    return path.with_name(path.name + ".json")


def save(path: Path, state: dict[str, Any], *, with_digest: bool = True) -> None:
    """Write `state`, its format version and its digest. CheckpointError.

    A kill at any moment leaves the old file or the new one. Without a digest several runs may
    write the same `path`: the file is then always whole, and comes from one of them.
    """
    for where, value in _walk(state, "state"):
        _refuse_unsafe(where, value)
    buffer = io.BytesIO()
    torch.save({**state, "format_version": FORMAT_VERSION}, buffer)
    data = buffer.getbuffer()
    digest = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "steps": state.get("steps"),
        "format_version": FORMAT_VERSION,
        "replaces_sha256": _verified_digest(path),
    }
    try:
        with replacing(path) as file:
            file.write(data)
            file.flush()
            # The digest is written first and names the file that it replaces, so that the old
            # file still verifies between the two renames.
            if with_digest:
                write_json(digest_path(path), digest)
    except OSError as error:
        if not path.exists():
            _delete(digest_path(path))
        raise CheckpointError(
            f"The checkpoint {str(path)!r} could not be written ({reason(error)}); "
            f"earlier ones are intact, {fix(error)}."
        ) from error


def load(path: Path, *, require_digest: bool = True) -> dict[str, Any]:
    """Read a checkpoint onto the CPU and verify it. CheckpointError.

    `require_digest=False` accepts a checkpoint without a digest, but not with a wrong one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} cannot be read ({reason(error)}); "
            "pass the path of a .pt file."
        ) from error
    _verify(path, data, require_digest=require_digest)
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # There is no second attempt without weights_only: it could run code from the file.
        raise CheckpointError(
            f"The checkpoint {str(path)!r} is damaged or holds more than plain tensors "
            "and numbers; use another one."
        ) from error
    if not isinstance(state, dict) or not isinstance(state.get("format_version"), int):
        raise CheckpointError(
            f"{str(path)!r} was not saved by this program; "
            "pass a checkpoint that a run has written."
        )
    _refuse_other_format(path, state["format_version"])
    return state


def latest(directory: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Load the newest checkpoint that verifies. CheckpointError if there is none.

    Return its path, its state and a warning for each newer one that was skipped.
    """
    warnings: list[str] = []
    for path in _checkpoints(directory):
        try:
            return path, load(path), warnings
        except CheckpointError as error:
            warnings.append(f"{path.name} was skipped. {error}")
    if warnings:
        raise CheckpointError(
            f"None of the {len(warnings)} checkpoints in {str(directory)!r} can be used; "
            f"start a new run without --resume or --load, or put back a good copy. {warnings[0]}"
        )
    raise CheckpointError(
        f"There is no checkpoint in {str(directory)!r}; start a new run without --resume or --load."
    )


def set_aside_newer(path: Path) -> None:
    """Rename the damaged checkpoints that are newer than `path`.

    `rotate` would otherwise keep them and delete good ones whose names sort below theirs.
    """
    for other in _checkpoints(path.parent):
        if other.name > path.name:
            with contextlib.suppress(OSError):
                other.replace(other.with_name(other.name + ".damaged"))
            _delete(digest_path(other))


def rotate(directory: Path, keep: int = 3) -> None:
    """Delete all but the newest `keep` checkpoints, and the remains of killed saves.

    Only the process that writes the folder may call this.
    """
    for path in _checkpoints(directory)[max(keep, 1) :]:
        _delete(path)
        _delete(digest_path(path))
    with contextlib.suppress(OSError):
        for path in list(directory.iterdir()):
            if _is_leftover(path):
                _delete(path)


def _checkpoints(directory: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first."""
    with contextlib.suppress(OSError):
        return sorted(
            (path for path in directory.iterdir() if _NAME.fullmatch(path.name)), reverse=True
        )
    return []


def _is_leftover(path: Path) -> bool:
    """Return whether an interrupted save or deletion has left this file."""
    name = path.name
    if name.startswith(".checkpoint_") and name.endswith(".tmp"):
        return True
    target = path.with_suffix("")
    return (
        name.endswith(".pt.json")
        and _NAME.fullmatch(target.name) is not None
        and not target.exists()
    )


def _delete(path: Path) -> None:
    # A file that cannot be deleted takes space, and does no other harm.
    with contextlib.suppress(OSError):
        path.unlink()


def _walk(value: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield all leaves of nested plain containers, each with its place in words."""
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        for key, item in value.items():
            yield f"a key of {where}", key
            yield from _walk(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple | set) and type(value) in (list, tuple, set, torch.Size):
        for index, item in enumerate(value):
            yield from _walk(item, f"{where}[{index}]")
    else:
        yield where, value


def _refuse_unsafe(where: str, value: object) -> None:
    """Raise for what a safe load would refuse, and for numbers that no run could continue from."""
    # Compare exact types: numpy's float64 is a float and a named tuple is a tuple, but neither
    # can be loaded safely.
    if type(value) not in _LEAVES and type(value) not in _TENSORS:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CheckpointError(
            f"{where} is a {kind}; checkpoints hold plain tensors and Python only, so convert it."
        )
    # The workers' states contain those of environments, where infinity may be meant.
    learned = not where.startswith("state['workers']")
    if learned and isinstance(value, torch.Tensor) and not bool(torch.isfinite(value).all()):
        raise CheckpointError(
            f"{where} holds NaN or infinity, so nothing was saved; "
            "continue from the checkpoint before, with a lower --lr or --max-grad-norm."
        )


def _verify(path: Path, data: bytes, *, require_digest: bool) -> None:
    try:
        digest = json.loads(digest_path(path).read_text(encoding="utf-8"))
        accepted = {digest["sha256"], digest.get("replaces_sha256")} - {None}
        version = digest["format_version"]
    except FileNotFoundError:
        if require_digest:
            raise CheckpointError(
                f"The checkpoint {str(path)!r} has no {digest_path(path).name} to verify it with; "
                "copy that file along, or use another checkpoint."
            ) from None
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{str(digest_path(path))!r} is damaged, so the checkpoint cannot be verified; "
            "use another one."
        ) from error
    if hashlib.sha256(data).hexdigest() not in accepted:
        raise CheckpointError(
            f"The checkpoint {str(path)!r} is damaged "
            f"(its {len(data)} bytes do not match its sha256); use another one."
        )
    if isinstance(version, int):
        _refuse_other_format(path, version)


def _refuse_other_format(path: Path, version: int) -> None:
    if version != FORMAT_VERSION:
        if version > FORMAT_VERSION:
            age, fix = "newer", "update the program"
        else:
            age, fix = "older", "use the version that saved it"
        raise CheckpointError(
            f"The checkpoint {str(path)!r} has format {version}, "
            f"{age} than this program's {FORMAT_VERSION}; {fix}."
        )


def _verified_digest(path: Path) -> str | None:
    """Return the sha256 of the good file that is about to be replaced; None if there is none."""
    try:
        data = path.read_bytes()
        _verify(path, data, require_digest=True)
    except (OSError, CheckpointError):
        return None
    return hashlib.sha256(data).hexdigest()
