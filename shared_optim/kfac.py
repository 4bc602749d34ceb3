"""Kronecker-factored approximate curvature (Martens & Grosse 2015) in shared memory, with ACKTR's trust region (Wu et al. 2017).

The Fisher matrix of a linear map s = W a is approximated by A ⊗ G, A = E[a aᵀ] and G = E[g gᵀ] with g the gradient of the sampled
log-likelihood by s, and the blocks of different maps by nothing. A bias is a column of W, for an input that is always 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import torch
from torch import Tensor

from shared_optim.kronecker import Factor, LinearMap, by_eigenvectors, contribution_size, invert
from shared_optim.memory import SharedTensor
from shared_optim.optimizers import Samples, SharedOptimizer, Stage


@dataclass(frozen=True)
class Known:
    """Parameters whose Fisher matrix is a multiple of the identity, whatever the input; in the first trust region."""

    piece: slice
    fisher: float


@dataclass(frozen=True, kw_only=True)
class KFACSettings:
    """Defaults are those of ACKTR for games (OpenAI's baselines)."""

    momentum: float = 0.9
    stat_decay: float = 0.99  # of the factors' running averages
    damping: float = 0.01  # λ
    kl_clips: tuple[float, ...] = (0.001,)  # δ, how far one step may go in each trust region, by the quadratic approximation
    factor_interval: int = 1  # updates
    inverse_interval: int = 10  # updates
    cold_updates: int = 10  # by plain gradients, until the factors are worth something; their averages begin here
    inverse: str = "cholesky"  # or "eigh"


@dataclass(frozen=True, kw_only=True)
class KFACMemory:
    """What K-FAC knows of a network, and what W workers write so that all factors make one step; a row each, with one writer."""

    maps: Sequence[LinearMap]
    known: Sequence[Known]
    contributions: SharedTensor  # [W, sum of all factors' contributions] float32
    direction: SharedTensor  # [P] float32, rows of each map each
    gains: SharedTensor  # [W, groups] float64, of each one's rows: direction times gradient
    failures: SharedTensor  # [W] int64, inversions that gave nothing to use

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
        """All zero. OSError if there is no room for it."""
        size = sum(contribution_size(map_, columns) for map_ in maps for columns in (map_.columns, map_.rows))
        return cls(
            maps=maps,
            known=known,
            contributions=SharedTensor(num_workers, size, dtype=torch.float32, context=context),
            direction=SharedTensor(num_parameters, dtype=torch.float32, context=context),
            gains=SharedTensor(num_workers, 1 + max(map_.group for map_ in maps), dtype=torch.float64, context=context),
            failures=SharedTensor(num_workers, dtype=torch.int64, context=context),
        )

    @property
    def num_failures(self) -> int:
        """Inversions of all workers that gave nothing to use, so that the last good inverse went on."""
        return int(self.failures.tensor.sum())


def kfac_statistics_size(maps: Sequence[LinearMap], num_parameters: int) -> int:
    """Numbers that K-FAC remembers: A, G and what their inverses are made of, of each map; the velocity; the count of updates."""
    return sum(2 * size * size + size for map_ in maps for size in (map_.columns, map_.rows)) + num_parameters + 1


class SharedKFAC(SharedOptimizer):
    """A step against the natural gradient (A ⊗ G)⁻¹ ∇, in stages between which all workers meet.

    Everybody contributes; each averages its rows of every factor; the inverses are dealt to the workers; each multiplies its rows
    of every map's gradient; the first one moves the parameters.

    A worker that dies inside a stage leaves it to its replacement, who does it again: some rows of a running average, or the
    parameters, may then have moved twice.
    """

    def __init__(
        self,
        parameters: Tensor,
        statistics: Tensor,
        *,
        memory: KFACMemory,
        worker: int,
        settings: KFACSettings,
    ) -> None:
        """`parameters` [P]; `statistics` [`kfac_statistics_size`], zero at first."""
        P, maps = parameters.numel(), memory.maps
        assert statistics.shape == (kfac_statistics_size(maps, P),)
        self._parameters, self._worker, self._settings = parameters, worker, settings
        self._maps, self._known = maps, memory.known
        self._num_workers = memory.contributions.tensor.shape[0]
        self._direction, self._gains = memory.direction.tensor, memory.gains.tensor
        self._failures = memory.failures.tensor
        factors, self._velocity, self._num_updates = torch.split(statistics, [statistics.numel() - P - 1, P, 1])
        sizes = [size for map_ in maps for size in (map_.columns, map_.rows)]
        pieces = iter(torch.split(factors, [2 * size * size + size for size in sizes]))
        contributed = [contribution_size(map_, size) for map_ in maps for size in (map_.columns, map_.rows)]
        rows = iter(torch.split(memory.contributions.tensor, contributed, 1))
        self._factors = [
            tuple(Factor(map_, size, next(pieces), next(rows)) for size in (map_.columns, map_.rows)) for map_ in maps
        ]
        # The dearest inversions first, each to whoever has the least to do.
        self._owners, load = {}, [0] * self._num_workers
        for i in sorted(range(len(maps)), key=lambda i: -(maps[i].columns ** 3 + maps[i].rows ** 3)):
            self._owners[i] = load.index(min(load))
            load[self._owners[i]] += maps[i].columns ** 3 + maps[i].rows ** 3

    @property
    def wants_samples(self) -> bool:
        """Whether this update renews the factors."""
        return self._due(self._settings.factor_interval)

    def contribute(self, samples: Samples) -> None:
        """A ← L Σ a aᵀ / M and G ← Σ g gᵀ / M of M samples; or the samples, if there are fewer of them than columns or rows.

        A sums over a convolution's L locations and G is their mean (Grosse & Martens 2016, eq. 27); other maps have one.
        """
        if not samples:
            return
        for map_, (A, G), (a, g) in zip(self._maps, self._factors, samples, strict=True):
            A.contribute(self._worker, a, map_.locations / map_.num_samples)
            G.contribute(self._worker, g, 1 / map_.num_samples)

    def stages(self, gradient: Tensor) -> tuple[Stage, ...]:
        """What all do between meetings, once everybody has contributed and `gradient` [P] is the mean of all."""
        return self._average, self._invert, lambda: self._precondition(gradient)

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """v ← μv + (1 - μ) ν u; θ ← θ - η v, with ν ≤ 1 such that η² ν² uᵀF u ≤ δ. While cold u is `gradient` and ν is 1.

        ν is that of the trust region, whose δ is about twice the divergence, as in OpenAI's baselines; the paper writes 2δ.
        """
        momentum, kl_clips = self._settings.momentum, self._settings.kl_clips
        self._velocity.mul_(momentum)
        if self._cold:
            self._velocity.add_(gradient, alpha=1 - momentum)
        else:
            # uᵀF u = uᵀ∇, by u = F⁻¹∇.
            changes = (learning_rate**2 * self._gains.sum(0)).tolist()
            scales = [_scale(change, most) for change, most in zip(changes, kl_clips, strict=True)]
            pieces = [(piece, map_.group) for map_ in self._maps for piece in map_.pieces]
            for piece, group in pieces + [(part.piece, 0) for part in self._known]:
                self._velocity[piece].add_(self._direction[piece], alpha=(1 - momentum) * scales[group])
        self._parameters.add_(self._velocity, alpha=-learning_rate)
        self._num_updates.add_(1)

    @property
    def _cold(self) -> bool:
        return int(self._num_updates) < self._settings.cold_updates

    def _due(self, interval: int) -> bool:
        return int(self._num_updates) % interval == 0

    def _share(self, size: int) -> slice:
        return slice(size * self._worker // self._num_workers, size * (self._worker + 1) // self._num_workers)

    def _average(self) -> None:
        settings, updates = self._settings, int(self._num_updates)
        if not self.wants_samples:
            return
        seen = updates // settings.factor_interval
        weight = 1 / (seen + 1) if updates < max(1, settings.cold_updates) else 1 - settings.stat_decay
        for factors in self._factors:
            for factor in factors:
                factor.average(self._share(factor.size), weight)

    def _invert(self) -> None:
        updates = int(self._num_updates)
        if self._cold:
            return
        due = (updates - self._settings.cold_updates) % self._settings.inverse_interval == 0
        for i, (A, G) in enumerate(self._factors):
            if self._owners[i] == self._worker and (due or not A.inverse[0].any()):
                self._failures[self._worker] += not invert(A, G, self._settings.damping, self._settings.inverse)

    def _precondition(self, gradient: Tensor) -> None:
        if self._cold:
            return
        gains = [0.0] * self._gains.shape[1]
        for map_, (A, G) in zip(self._maps, self._factors, strict=True):
            rows, V = self._share(map_.rows), map_.matrix(gradient)
            if self._settings.inverse == "eigh":
                direction = by_eigenvectors(V, A, G, self._settings.damping, rows)
            else:
                direction = (G.inverse[rows] @ V) @ A.inverse
            map_.write(self._direction, direction, rows)
            gains[map_.group] += float((direction.double() * V[rows]).sum())
        if self._worker == 0:
            for part in self._known:
                own = gradient[part.piece]
                self._direction[part.piece] = own / (part.fisher + self._settings.damping)
                gains[0] += float(self._direction[part.piece].double() @ own.double())
        self._gains[self._worker] = torch.tensor(gains)


def _scale(change: float, most: float) -> float:
    """ν: the largest number up to 1 with ν² `change` ≤ `most`; 0 for a negative change, which only a broken inverse gives."""
    if change < 0:
        return 0.0
    return math.sqrt(most / change) if change > most else 1.0
