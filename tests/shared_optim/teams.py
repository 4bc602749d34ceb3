"""Workers at one barrier, each a thread; what processes do to memory threads do, too."""

import multiprocessing
import threading
import time
from collections.abc import Callable

import torch

from shared_optim.contribution import Contribution, Samples
from shared_optim.exchange import Barrier
from shared_optim.mean import Mean, MeanMemory
from shared_optim.optimizers import SharedOptimizer
from shared_optim.rendezvous import Rendezvous, RendezvousMemory

CONTEXT = multiprocessing.get_context("spawn")


def run(*lives: Callable[[], None], timeout: float = 20.0) -> None:
    """Run each life in a thread; none may wait for ever, and none may fail."""
    failures = []

    def guarded(life: Callable[[], None]) -> None:
        try:
            life()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(life,), daemon=True) for life in lives]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        while thread.is_alive() and not failures:
            thread.join(0.05)
            assert time.monotonic() < deadline, "somebody waits for ever"
    if failures:
        raise failures[0]


def contribution(
    gradient: torch.Tensor,
    *,
    learning_rate: float = 1.0,
    samples: Samples = (),
    **rest,
) -> Contribution:
    return Contribution(
        gradient=gradient, learning_rate=learning_rate, samples=lambda: samples, **rest
    )


class Team:
    """The memory of W workers, and what each of them makes of it."""

    def __init__(self, num_workers: int, size: int) -> None:
        self.meetings = RendezvousMemory.create(num_workers, context=CONTEXT)
        self.means = MeanMemory.create(num_workers, size, context=CONTEXT)
        self.parameters = torch.zeros(size)
        self.beats = [0] * num_workers

    def rendezvous(self, worker: int, *, patient: bool = True) -> Rendezvous:
        def beat() -> None:
            self.beats[worker] += 1

        return Rendezvous(self.meetings, worker=worker, beat=beat, patient=patient)

    def mean(self, worker: int) -> Mean:
        return Mean(self.means, worker=worker)

    def barrier(
        self,
        worker: int,
        optimizer: SharedOptimizer,
        *,
        max_norm: float = 1e9,
        patient: bool = True,
        rendezvous: Rendezvous | None = None,
    ) -> Barrier:
        return Barrier(
            rendezvous=rendezvous or self.rendezvous(worker, patient=patient),
            mean=self.mean(worker),
            optimizer=optimizer,
            parameters=self.parameters,
            max_norm=max_norm,
            steps=worker == 0,
        )
