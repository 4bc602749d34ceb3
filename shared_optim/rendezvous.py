"""The rendezvous: who has arrived at a meeting, who waits, and who replaces whom."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import torch

from shared_optim.futex import sleep_while, wake
from shared_optim.memory import SharedTensor

# A waiting worker reads the others' counters this often before it sleeps, for some 20 microseconds.
# Polling for longer takes time from workers that still compute, where workers share cores.
LOOKS = 30
LONGEST_SLEEP = 0.1  # seconds; a waiting worker calls `beat` at least this often


@dataclass(frozen=True, kw_only=True)
class RendezvousMemory:
    """Two counters for each of W workers; each worker writes its own."""

    arrivals: SharedTensor  # [W] int64: number of meetings at which a worker has arrived
    rounds: SharedTensor  # [W] int64: the same number when its present segment began

    @classmethod
    def create(cls, num_workers: int, *, context: BaseContext) -> "RendezvousMemory":
        """Allocate zeros. OSError if there is no room for them."""
        return cls(
            arrivals=SharedTensor(num_workers, dtype=torch.int64, context=context),
            rounds=SharedTensor(num_workers, dtype=torch.int64, context=context),
        )


def _nothing() -> None:
    """Contribute nothing to a meeting."""


class Rendezvous:
    """Meetings of W workers, made of counters without locks.

    Each worker counts the meetings at which it has arrived, and waits until every count is as high.
    A worker that dies is replaced by one that starts the segment anew. The replacement passes
    through the meetings at which its predecessor had arrived, without contributing or waiting. The
    others wait for it at the next meeting.
    """

    def __init__(
        self,
        memory: RendezvousMemory,
        *,
        worker: int,
        beat: Callable[[], None],
        patient: bool,
    ) -> None:
        """Begin where the worker's present segment began.

        `beat` is called while waiting. `patient`: poll for a while before sleeping, because each
        worker has a core of its own.
        """
        self._worker, self._beat = worker, beat
        self._arrivals = memory.arrivals.tensor.numpy()
        self._rounds = memory.rounds.tensor.numpy()
        self._addresses = [self._arrivals[i:].ctypes.data for i in range(len(self._arrivals))]
        self.position = int(self._rounds[worker])  # number of the next meeting
        self._fence, self._patience = threading.Lock(), LOOKS if patient else 0

    @property
    def catching_up(self) -> bool:
        """Whether a predecessor of this worker had arrived at the next meeting."""
        return self.position < int(self._arrivals[self._worker])

    @property
    def lost(self) -> bool:
        """Whether a predecessor of this worker had arrived at a later meeting than the next one.

        What workers wrote at the next meeting is then overwritten. What they wrote at the
        predecessor's last meeting is still there, because no worker can be two meetings ahead.
        """
        return self.position + 1 < int(self._arrivals[self._worker])

    def meet(self, contribute: Callable[[], object] = _nothing) -> None:
        """Call `contribute`, and wait until all workers have arrived at this meeting."""
        arrivals = self._arrivals
        if not self.catching_up:
            contribute()
            # Some processors reorder writes. The fence makes the contribution visible to others
            # before the arrival.
            with self._fence:
                pass
            arrivals[self._worker] = self.position + 1
            wake(self._addresses[self._worker])
        self.position += 1
        looks = 0
        while (least := min(seen := arrivals.tolist())) < self.position:
            looks += 1
            if looks > self._patience:
                self._beat()
                sleep_while(self._addresses[seen.index(least)], least, seconds=LONGEST_SLEEP)
        with self._fence:
            pass

    def begin_round(self) -> None:
        """Begin a segment: a replacement of this worker will start from here."""
        self._rounds[self._worker] = self.position
