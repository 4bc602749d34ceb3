"""What an exact resume needs: everything the workers share, and what each has of its own, between two segments at the barrier."""

import io
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker sends between two segments, all workers at the same moment."""

    steps: int  # of all workers, until then
    own: (
        bytes | None
    )  # what `pack` made of the worker's own state; None if an environment can't be saved
    shared: bytes | None  # worker 0 adds what all share
    problem: str = ""  # why an environment can't be saved


def random_state() -> dict[str, Any]:
    """Where this process's global generators stand: torch's, and those that environments may use."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  (no new one is made here)
    version, numbers, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.array(keys, np.int64)), *rest],
        "python": [version, list(numbers), gauss_next],
    }


def load_random_state(state: dict[str, Any]) -> None:
    """Puts them back there."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))


def pack(state: dict[str, Any]) -> bytes:
    """A state as bytes: the way of tensors through a pipe would cost a file descriptor each."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpack(packed: bytes) -> dict[str, Any]:
    """The state again."""
    state: dict[str, Any] = torch.load(io.BytesIO(packed), weights_only=True)
    return state


# What all share; what each worker has of its own, or None and the reason why it can't be saved.
CompleteReports = tuple[dict[str, Tensor], list[dict[str, Any]] | None, str]


class Reports:
    """Collects the workers' reports until those of one moment are complete."""

    def __init__(self, num_workers: int) -> None:
        self._latest: list[Report | None] = [None] * num_workers

    def add(self, worker: int, report: Report) -> None:
        """Files a report; it replaces the worker's last one."""
        self._latest[worker] = report

    def take(self) -> CompleteReports | None:
        """What was reported of one moment, once all workers have."""
        reports = [report for report in self._latest if report is not None]
        if len(reports) < len(self._latest) or len({report.steps for report in reports}) > 1:
            return None
        self._latest = [None] * len(self._latest)
        owns = [unpack(report.own) for report in reports if report.own is not None]
        shared = next(report.shared for report in reports if report.shared is not None)
        problem = next((report.problem for report in reports if report.problem), "")
        return unpack(shared), owns if len(owns) == len(reports) else None, problem
