"""K-FAC's settings and shared memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import torch

from shared_optim.kronecker import LinearMap, contribution_size
from shared_optim.memory import SharedTensor


@dataclass(frozen=True)
class Known:
    """Parameters whose Fisher matrix is `fisher` times the identity, for any input.

    They belong to the first trust region.
    """

    piece: slice  # of the parameter vector
    fisher: float


@dataclass(frozen=True, kw_only=True)
class KFACSettings:
    """Settings of one trust region.

    The defaults are those of ACKTR for games in OpenAI's baselines, except that baselines inverts
    at every update.
    """

    momentum: float = 0.9
    stat_decay: float = 0.99  # of the factors' running averages
    damping: float = 0.01  # λ
    kl_clip: float = 0.001  # δ, limit of one step, by the quadratic approximation
    factor_interval: int = 1  # updates
    inverse_interval: int = 10  # updates
    # The first updates are plain gradients, until the factors are good enough. The factors' running
    # averages begin with them.
    cold_updates: int = 10
    inverse: str = "cholesky"  # or "eigh"
    desired_kl: float | None = None  # nats by which a step should move the policy; None: any


@dataclass(frozen=True, kw_only=True)
class KFACMemory:
    """The linear maps of a network, and what W workers write to make one step together.

    Each worker writes its own rows.
    """

    maps: Sequence[LinearMap]
    known: Sequence[Known]
    contributions: SharedTensor  # [W, sum of all factors' contributions] float32
    direction: SharedTensor  # [P] float32; each worker writes its rows of each map
    gains: SharedTensor  # [W, groups] float64, direction times gradient of each worker's rows

    @classmethod
    def create(
        cls,
        maps: Sequence[LinearMap],
        known: Sequence[Known],
        *,
        num_workers: int,
        num_parameters: int,
        context: BaseContext,
    ) -> "KFACMemory":
        """Allocate zeros. OSError if there is no room for them."""
        size = sum(
            contribution_size(map_, columns)
            for map_ in maps
            for columns in (map_.columns, map_.rows)
        )
        return cls(
            maps=maps,
            known=known,
            contributions=SharedTensor(num_workers, size, dtype=torch.float32, context=context),
            direction=SharedTensor(num_parameters, dtype=torch.float32, context=context),
            gains=SharedTensor(num_workers, num_groups(maps), dtype=torch.float64, context=context),
        )


def kfac_statistics_size(maps: Sequence[LinearMap], num_parameters: int) -> int:
    """Return how many numbers K-FAC stores.

    These are A, G and their inverses of each map, the velocity, and for each trust region the
    number of updates and the logarithm of the factor of its step size.
    """
    factors = sum(2 * size * size + size for map_ in maps for size in (map_.columns, map_.rows))
    return factors + num_parameters + 2 * num_groups(maps)


def num_groups(maps: Sequence[LinearMap]) -> int:
    """Return how many groups of maps there are."""
    return 1 + max(map_.group for map_ in maps)
