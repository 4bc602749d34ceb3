"""Workers whose optimizer is K-FAC, over small linear maps."""

import functools

import torch

from shared_optim.kfac import SharedKFAC
from shared_optim.kfac_memory import KFACMemory, kfac_statistics_size
from shared_optim.kronecker import LinearMap
from tests.shared_optim import teams
from tests.shared_optim.teams import CONTEXT, contribution

ROWS, INPUTS = 3, 4
SIZE = ROWS * (INPUTS + 1)
WARM = {"cold_updates": 0, "inverse_interval": 1, "momentum": 0.0}


def one_map(num_samples: int, *, group: int = 0, start: int = 0, locations: int = 1) -> LinearMap:
    return LinearMap(
        weight=start,
        bias=start + ROWS * INPUTS,
        rows=ROWS,
        inputs=INPUTS,
        group=group,
        num_samples=num_samples,
        locations=locations,
    )


def make_samples(num_samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat(
        (torch.randn(num_samples, INPUTS), torch.ones(num_samples, 1)), 1
    ), torch.randn(num_samples, ROWS)


class Team(teams.Team):
    """W workers at one barrier, whose optimizer is K-FAC."""

    def __init__(self, maps, num_workers: int = 1, *, known=(), settings, size: int = SIZE) -> None:
        super().__init__(num_workers, size)
        self.kfac = KFACMemory.create(
            maps, known, num_workers=num_workers, num_parameters=size, context=CONTEXT
        )
        self.failures: list[int] = []  # of whose inversions
        self.statistics = torch.zeros(kfac_statistics_size(maps, size))
        self.optimizers = [
            SharedKFAC(
                self.parameters,
                self.statistics,
                memory=self.kfac,
                worker=worker,
                settings=settings if isinstance(settings, list) else [settings],
                failed=functools.partial(self.failures.append, worker),
            )
            for worker in range(num_workers)
        ]
        # A rendezvous counts its own meetings, so it serves all updates.
        self.meeting = [self.rendezvous(worker, patient=False) for worker in range(num_workers)]

    @property
    def factors(self):
        """A and G of the first map."""
        return self.optimizers[0].factors[0]

    def push(self, gradients, samples, *, max_norm: float = 1e9, **options) -> list:
        """One update; a gradient and samples of each worker. Return what each was told."""
        told = {}

        def life(worker: int) -> None:
            exchange = self.barrier(
                worker,
                self.optimizers[worker],
                max_norm=max_norm,
                rendezvous=self.meeting[worker],
            )
            given = contribution(gradients[worker], samples=samples[worker], **options)
            told[worker] = exchange.push(given)

        teams.run(*(functools.partial(life, worker) for worker in range(len(gradients))))
        return [told[worker] for worker in range(len(gradients))]
