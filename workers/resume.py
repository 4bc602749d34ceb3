"""What an exact resume needs: what all workers share, and what each worker has of its own.

It is taken between two segments at the barrier.
"""

import io
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker sends between two segments; all workers send it at the same moment."""

    steps: int  # of all workers, until then
    own: bytes | None  # the worker's packed state; None if an environment can't be saved
    shared: bytes | None  # what all workers share, packed; from worker 0 only
    problem: str = ""  # why an environment can't be saved


@dataclass(frozen=True)
class NewEpisodes:
    """What a resumed worker sends whose environments can't go on where they were saved."""

    problem: str  # one sentence


def random_state() -> dict[str, Any]:
    """Return the states of this process's global generators: torch's, NumPy's and Python's.

    Environments may use the latter two.
    """
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  (environments use it)
    version, numbers, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": [kind, torch.from_numpy(np.array(keys, np.int64)), *rest],
        "python": [version, list(numbers), gauss_next],
    }


def load_random_state(state: dict[str, Any]) -> None:
    """Set the global generators to what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))


def pack(state: dict[str, Any]) -> bytes:
    """Return a state as bytes.

    A pipe would send each tensor by a file descriptor of its own; bytes need none.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpack(packed: bytes) -> dict[str, Any]:
    """Return the state that was packed."""
    state: dict[str, Any] = torch.load(io.BytesIO(packed), weights_only=True)
    return state


# What all workers share; what each has of its own, or None if one can't be saved; the reason why.
CompleteReports = tuple[dict[str, Tensor], list[dict[str, Any]] | None, str]


class Reports:
    """Collects reports until all workers have sent theirs of the same moment."""

    def __init__(self, num_workers: int) -> None:
        self._latest: list[Report | None] = [None] * num_workers

    def add(self, worker: int, report: Report) -> None:
        """Keep a report in place of the worker's last one."""
        self._latest[worker] = report

    def take(self) -> CompleteReports | None:
        """Return the reports of one moment, once, when they are complete; None before."""
        reports = [report for report in self._latest if report is not None]
        if len(reports) < len(self._latest) or len({report.steps for report in reports}) > 1:
            return None
        self._latest = [None] * len(self._latest)
        owns = [unpack(report.own) for report in reports if report.own is not None]
        shared = next(report.shared for report in reports if report.shared is not None)
        problem = next((report.problem for report in reports if report.problem), "")
        return unpack(shared), owns if len(owns) == len(reports) else None, problem
