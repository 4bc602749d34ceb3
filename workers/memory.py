"""The shared memory of a run."""

from dataclasses import dataclass, fields
from multiprocessing.context import BaseContext

import torch
from torch import Tensor

from shared_optim.kfac_memory import KFACMemory
from shared_optim.mean import MeanMemory
from shared_optim.memory import SharedTensor
from shared_optim.rendezvous import RendezvousMemory
from workers.progress import ProgressTable

_LEFT_OUT = ("progress", "barrier", "kfac")  # by `copy`: a run makes these anew


@dataclass(frozen=True, kw_only=True)
class BarrierMemory:
    """What workers write to make their contributions act together."""

    rendezvous: RendezvousMemory
    mean: MeanMemory

    @classmethod
    def create(
        cls, num_workers: int, num_parameters: int, *, context: BaseContext
    ) -> "BarrierMemory":
        """Return memory that is all zero. OSError if there is no room for it."""
        return cls(
            rendezvous=RendezvousMemory.create(num_workers, context=context),
            mean=MeanMemory.create(num_workers, num_parameters, context=context),
        )


@dataclass(frozen=True, kw_only=True)
class SharedMemory:
    """All that the processes of a run share."""

    parameters: SharedTensor  # [P] float32
    statistics: SharedTensor  # the optimizer's, float32
    normaliser: SharedTensor  # [N, 1 + 2K] float64, of observations
    returns: SharedTensor  # [N, 3] float64, the same of discounted sums of rewards
    progress: ProgressTable
    barrier: BarrierMemory | None  # None if nobody waits
    kfac: KFACMemory | None = None  # None for other optimizers

    def copy(self) -> dict[str, Tensor]:
        """Copy what a resumed run goes on from, as tensors.

        These are parameters, statistics, normaliser, returns and counters. The last three have one
        row for each worker.
        """
        names = [field.name for field in fields(self) if field.name not in _LEFT_OUT]
        copies: dict[str, Tensor] = {name: getattr(self, name).tensor.clone() for name in names}
        return copies | {"counters": torch.from_numpy(self.progress.counters.copy())}
