"""Kronecker-factored approximate curvature (Martens & Grosse 2015) in shared memory, with ACKTR's trust region (Wu et al. 2017).

The Fisher matrix of a linear map s = W a is approximated by A ⊗ G, A = E[a aᵀ] and G = E[g gᵀ] with g the gradient of the sampled
log-likelihood by s, and the blocks of different maps by nothing. A bias is a column of W, for an input that is always 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import numpy as np
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
    """Of one trust region; the defaults are those of ACKTR for games in OpenAI's baselines, which inverts at every update."""

    momentum: float = 0.9
    stat_decay: float = 0.99  # of the factors' running averages
    damping: float = 0.01  # λ
    kl_clip: float = 0.001  # δ, how far one step may go, by the quadratic approximation
    factor_interval: int = 1  # updates
    inverse_interval: int = 10  # updates
    cold_updates: int = (
        10  # by plain gradients, until the factors are worth something; their averages begin here
    )
    inverse: str = "cholesky"  # or "eigh"


@dataclass(frozen=True, kw_only=True)
class KFACMemory:
    """What K-FAC knows of a network, and what W workers write so that all factors make one step; a row each, with one writer."""

    maps: Sequence[LinearMap]
    known: Sequence[Known]
    contributions: SharedTensor  # [W, sum of all factors' contributions] float32
    direction: SharedTensor  # [P] float32, rows of each map each
    gains: SharedTensor  # [W, groups] float64, of each one's rows: direction times gradient

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
            gains=SharedTensor(
                num_workers, _num_groups(maps), dtype=torch.float64, context=context
            ),
        )


def kfac_statistics_size(maps: Sequence[LinearMap], num_parameters: int) -> int:
    """Numbers that K-FAC remembers.

    A, G and what their inverses are made of, of each map; the velocity; of each trust region the count of updates and the
    logarithm of what its step size is multiplied by.
    """
    factors = sum(2 * size * size + size for map_ in maps for size in (map_.columns, map_.rows))
    return factors + num_parameters + 2 * _num_groups(maps)


class SharedKFAC(SharedOptimizer):
    """A step against the natural gradient (A ⊗ G)⁻¹ ∇, in stages between which all workers meet.

    Everybody contributes; each averages its rows of every factor; the inverses are dealt to the workers; each multiplies its rows
    of every map's gradient; the first one moves the parameters. Groups of maps have a trust region, settings and a count of
    updates of their own, and may move one at a time.

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
        settings: Sequence[KFACSettings],
        failed: Callable[[], object],
    ) -> None:
        """`parameters` [P]; `statistics` [`kfac_statistics_size`], zero at first; `settings` of each group of maps.

        `failed` is called for every inversion of this worker that gave nothing to use, so that the last good inverse went on.
        """
        P, maps, num_groups = parameters.numel(), memory.maps, _num_groups(memory.maps)
        assert statistics.shape == (kfac_statistics_size(maps, P),)
        assert len(settings) == num_groups
        self._parameters, self._worker, self._settings = parameters, worker, settings
        self._maps, self._known = maps, memory.known
        self._num_workers = memory.contributions.tensor.shape[0]
        self._direction, self._gains = memory.direction.tensor, memory.gains.tensor.numpy()
        self._failed = failed
        sizes = [statistics.numel() - P - 2 * num_groups, P, num_groups, num_groups]
        factors, self._velocity, num_updates, log_scales = torch.split(statistics, sizes)
        self._num_updates, self._log_scales = num_updates.numpy(), log_scales.numpy()
        self._moving: Sequence[int] = range(num_groups)
        grouped = [(map_.group, piece) for map_ in maps for piece in map_.pieces] + [
            (0, part.piece) for part in memory.known
        ]
        self._pieces = [
            _joined([piece for of, piece in grouped if of == group]) for group in range(num_groups)
        ]
        sizes = [size for map_ in maps for size in (map_.columns, map_.rows)]
        pieces = iter(torch.split(factors, [2 * size * size + size for size in sizes]))
        contributed = [
            contribution_size(map_, size) for map_ in maps for size in (map_.columns, map_.rows)
        ]
        rows = iter(torch.split(memory.contributions.tensor, contributed, 1))
        self._factors = [
            tuple(
                Factor(map_, size, next(pieces), next(rows)) for size in (map_.columns, map_.rows)
            )
            for map_ in maps
        ]
        # The dearest inversions first, each to whoever has the least to do.
        self._owners, loads = {}, [[0] * self._num_workers for _ in range(num_groups)]
        for i in sorted(
            range(len(maps)), key=lambda i: -(maps[i].columns ** 3 + maps[i].rows ** 3)
        ):
            load = loads[maps[i].group]
            self._owners[i] = load.index(min(load))
            load[self._owners[i]] += maps[i].columns ** 3 + maps[i].rows ** 3

    def select(self, groups: Sequence[int]) -> None:
        """Which groups of maps contribute, and move, from here on; none named: all."""
        self._moving = groups or range(len(self._settings))

    @property
    def wants_samples(self) -> bool:
        """Whether this update renews factors."""
        return any(self._renews(group) for group in self._moving)

    def contribute(self, samples: Samples) -> None:
        """A ← L Σ a aᵀ / M and G ← Σ g gᵀ / M of M samples; or the samples, if there are fewer of them than columns or rows.

        A sums over a convolution's L locations and G is their mean (Grosse & Martens 2016, eq. 27); other maps have one.
        """
        if not samples:
            return
        for map_, (A, G), (a, g) in zip(self._maps, self._factors, samples, strict=True):
            if map_.group in self._moving and self._renews(map_.group):
                A.contribute(self._worker, a, map_.locations / map_.num_samples)
                G.contribute(self._worker, g, 1 / map_.num_samples)

    def stages(self, gradient: Tensor) -> tuple[Stage, ...]:
        """What all do between meetings, once everybody has contributed and `gradient` [P] is the mean of all."""
        return self._average, self._invert, lambda: self._precondition(gradient)

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """v ← μv + (1 - μ) ν u; θ ← θ - η v, with ν ≤ 1 such that η² ν² uᵀF u ≤ δ. While cold u is `gradient` and ν is 1.

        ν is that of the trust region, whose δ is about twice the divergence, as in OpenAI's baselines; the paper writes 2δ.
        What v is made of when the cold is over knows of no trust region, so it begins anew.
        """
        gains = self._gains.sum(0)
        for group in self._moving:
            settings = self._settings[group]
            eta = learning_rate * math.exp(float(self._log_scales[group]))
            if self._cold(group):
                source, scale = gradient, 1.0
            else:
                # uᵀF u = uᵀ∇, by u = F⁻¹∇.
                source, scale = (
                    self._direction,
                    _scale(eta**2 * float(gains[group]), settings.kl_clip),
                )
            momentum = (
                0.0 if int(self._num_updates[group]) == settings.cold_updates else settings.momentum
            )
            for piece in self._pieces[group]:
                velocity = self._velocity[piece].mul_(momentum)
                velocity.add_(source[piece], alpha=(1 - settings.momentum) * scale)
                self._parameters[piece].add_(velocity, alpha=-eta)
            self._num_updates[group] += 1

    def adapt(self, divergence: float, *, desired: float) -> None:
        """Multiplies the first group's step size by 3/2 where a step went less than half as far as `desired`, or divides it.

        It is divided beyond twice as far, as in OpenAI's baselines; here a thousand times is the most, either way. Cold steps and
        a divergence that is not a number say nothing.
        """
        if int(self._num_updates[0]) <= self._settings[0].cold_updates:
            return
        if divergence > 2 * desired:
            self._log_scales[0] -= math.log(1.5)
        elif divergence < desired / 2:
            self._log_scales[0] += math.log(1.5)
        self._log_scales[0] = np.clip(self._log_scales[0], -math.log(1000), math.log(1000))

    @property
    def step_size_factor(self) -> float:
        """By what the first group's step size was multiplied."""
        return math.exp(float(self._log_scales[0]))

    def _cold(self, group: int) -> bool:
        return int(self._num_updates[group]) < self._settings[group].cold_updates

    def _renews(self, group: int) -> bool:
        return int(self._num_updates[group]) % self._settings[group].factor_interval == 0

    def _share(self, size: int) -> slice:
        return slice(
            size * self._worker // self._num_workers, size * (self._worker + 1) // self._num_workers
        )

    def _average(self) -> None:
        for map_, factors in zip(self._maps, self._factors, strict=True):
            if map_.group not in self._moving or not self._renews(map_.group):
                continue
            settings, updates = self._settings[map_.group], int(self._num_updates[map_.group])
            seen = updates // settings.factor_interval
            weight = (
                1 / (seen + 1)
                if updates < max(1, settings.cold_updates)
                else 1 - settings.stat_decay
            )
            for factor in factors:
                factor.average(self._share(factor.size), weight)

    def _invert(self) -> None:
        for i, (map_, (A, G)) in enumerate(zip(self._maps, self._factors, strict=True)):
            if (
                map_.group not in self._moving
                or self._cold(map_.group)
                or self._owners[i] != self._worker
            ):
                continue
            settings = self._settings[map_.group]
            due = (
                int(self._num_updates[map_.group]) - settings.cold_updates
            ) % settings.inverse_interval == 0
            if (due or not A.inverse[0].any()) and not invert(
                A, G, settings.damping, settings.inverse
            ):
                self._failed()

    @np.errstate(all="ignore")  # a gradient that is not finite is not applied
    def _precondition(self, gradient: Tensor) -> None:
        gains = [0.0] * len(self._settings)
        for map_, (A, G) in zip(self._maps, self._factors, strict=True):
            if map_.group not in self._moving or self._cold(map_.group):
                continue
            rows, V, settings = (
                self._share(map_.rows),
                map_.matrix(gradient),
                self._settings[map_.group],
            )
            if settings.inverse == "eigh":
                direction = by_eigenvectors(V, A, G, settings.damping, rows)
            else:
                direction = (G.inverse[rows] @ V) @ A.inverse
            map_.write(self._direction, direction, rows)
            gains[map_.group] += float(
                np.sum(direction.numpy() * V.numpy()[rows], dtype=np.float64)
            )
        if self._worker == 0 and 0 in self._moving:
            for part in self._known:
                own = gradient[part.piece]
                self._direction[part.piece] = own / (part.fisher + self._settings[0].damping)
                gains[0] += float(self._direction[part.piece].double() @ own.double())
        self._gains[self._worker] = gains


def _num_groups(maps: Sequence[LinearMap]) -> int:
    return 1 + max(map_.group for map_ in maps)


def _joined(pieces: Sequence[slice]) -> list[slice]:
    """As few pieces as there can be: one that begins where another ends goes on with it."""
    joined: list[slice] = []
    for piece in sorted(pieces, key=lambda piece: piece.start):
        begin = joined.pop().start if joined and joined[-1].stop == piece.start else piece.start
        joined.append(slice(begin, piece.stop))
    return joined


def _scale(change: float, most: float) -> float:
    """ν: the largest number up to 1 with ν² `change` ≤ `most`; 0 for a negative change, which only a broken inverse gives."""
    if change < 0:
        return 0.0
    return math.sqrt(most / change) if change > most else 1.0
