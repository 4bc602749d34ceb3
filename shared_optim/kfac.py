"""Kronecker-factored approximate curvature in shared memory, with ACKTR's trust region.

Martens & Grosse 2015, Wu et al. 2017. The Fisher matrix of a linear map s = W a is approximated by
A ⊗ G, with A = E[a aᵀ], G = E[g gᵀ] and g the gradient of the sampled log-likelihood by s. It is
taken to be zero between different maps. A bias is a column of W, for an input that is always 1.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from shared_optim.contribution import Contribution
from shared_optim.kfac_memory import (
    KFACMemory,
    KFACSettings,
    Known,
    kfac_statistics_size,
    num_groups,
)
from shared_optim.kronecker import (
    Factor,
    LinearMap,
    by_eigenvectors,
    contribution_size,
    invert,
)
from shared_optim.optimizers import SharedOptimizer, Stage


class SharedKFAC(SharedOptimizer):
    """A step against the natural gradient (A ⊗ G)⁻¹ ∇, in stages between which all workers meet.

    Each worker contributes samples, averages its rows of every factor, inverts the factors of the
    maps that it owns, and multiplies its rows of every map's gradient. Worker 0 then moves the
    parameters. Each group of maps has its own trust region, settings and number of updates, and a
    step may move some groups only.

    If a worker dies inside a stage, its replacement makes the stage again. Some rows of a running
    average, or the parameters, may then have moved twice.
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
        """`parameters` [P]; `statistics` [`kfac_statistics_size`], zero at first.

        `settings` are those of each group of maps. `failed` is called for every inversion of this
        worker that fails; the last good inverse stays in use.
        """
        P, maps, count = parameters.numel(), memory.maps, num_groups(memory.maps)
        assert statistics.shape == (kfac_statistics_size(maps, P),)
        assert len(settings) == count
        self._parameters, self._worker, self.settings = parameters, worker, settings
        self._maps, self._known = maps, memory.known
        self._num_workers = memory.contributions.tensor.shape[0]
        self._direction, self._gains = memory.direction.tensor, memory.gains.tensor.numpy()
        self._failed = failed
        sizes = [statistics.numel() - P - 2 * count, P, count, count]
        factors, self._velocity, num_updates, log_scales = torch.split(statistics, sizes)
        self._num_updates, self._log_scales = num_updates.numpy(), log_scales.numpy()
        self._pieces = _pieces(maps, memory.known)
        self.factors = _factors(maps, factors, memory.contributions.tensor)  # A and G of each map
        self._owners = _owners(maps, self._num_workers)

    def contribute(self, contribution: Contribution) -> None:
        """Write A ← L Σ a aᵀ / M and G ← Σ g gᵀ / M of M samples, where the update renews factors.

        The samples themselves are written if they are fewer than columns or rows. For a convolution
        of L locations, A is a sum over locations and G a mean (Grosse & Martens 2016, eq. 27). Any
        other map has one location.
        """
        renewed = [group for group in self._moving(contribution) if self._renews(group)]
        samples = contribution.samples() if renewed else ()
        for map_, (A, G), (a, g) in zip(self._maps, self.factors, samples, strict=bool(samples)):
            if map_.group in renewed:
                A.contribute(self._worker, a, map_.locations / map_.num_samples)
                G.contribute(self._worker, g, 1 / map_.num_samples)

    def stages(self, contribution: Contribution) -> tuple[Stage, ...]:
        """Return three stages: average the factors, invert them, and precondition the gradient."""
        moving = self._moving(contribution)
        return (
            lambda: self._average(moving),
            lambda: self._invert(moving),
            lambda: self._precondition(contribution.gradient, moving),
        )

    def step(self, contribution: Contribution) -> None:
        """v ← μv + (1 - μ) ν u; θ ← θ - η v, with ν ≤ 1 such that η² ν² uᵀF u ≤ δ.

        In cold updates u is the gradient and ν is 1. Afterwards u is the natural gradient, and ν
        keeps the step inside the trust region. δ is about twice the divergence, as in OpenAI's
        baselines; the paper writes 2δ. The first natural step discards v, because the cold updates
        were not limited to a trust region.
        """
        self._adapt(contribution.divergence)
        gains = self._gains.sum(0)
        for group in self._moving(contribution):
            settings = self.settings[group]
            eta = contribution.learning_rate * math.exp(float(self._log_scales[group]))
            if self._cold(group):
                source, scale = contribution.gradient, 1.0
            else:
                # uᵀF u = uᵀ∇, by u = F⁻¹∇.
                source = self._direction
                scale = _scale(eta**2 * float(gains[group]), settings.kl_clip)
            beginning = int(self._num_updates[group]) == settings.cold_updates
            momentum = 0.0 if beginning else settings.momentum
            for piece in self._pieces[group]:
                velocity = self._velocity[piece].mul_(momentum)
                velocity.add_(source[piece], alpha=(1 - settings.momentum) * scale)
                self._parameters[piece].add_(velocity, alpha=-eta)
            self._num_updates[group] += 1

    def _adapt(self, divergence: float | None) -> None:
        """Adapt the first group's step size to the `divergence` [nats] of the last step.

        It is multiplied by 3/2 below half of `desired_kl` and divided by 3/2 above twice
        `desired_kl`, as in OpenAI's baselines. Here the factor stays between 1/1000 and 1000.
        Nothing changes after a cold step or for a divergence that is not a number.
        """
        desired, cold = self.settings[0].desired_kl, self.settings[0].cold_updates
        if divergence is None or desired is None or int(self._num_updates[0]) <= cold:
            return
        if divergence > 2 * desired:
            self._log_scales[0] -= math.log(1.5)
        elif divergence < desired / 2:
            self._log_scales[0] += math.log(1.5)
        self._log_scales[0] = np.clip(self._log_scales[0], -math.log(1000), math.log(1000))

    @property
    def step_size_factor(self) -> float:
        """The number by which the first group's step size is multiplied."""
        return math.exp(float(self._log_scales[0]))

    def _moving(self, contribution: Contribution) -> Sequence[int]:
        return contribution.groups or range(len(self.settings))

    def _cold(self, group: int) -> bool:
        return int(self._num_updates[group]) < self.settings[group].cold_updates

    def _renews(self, group: int) -> bool:
        return int(self._num_updates[group]) % self.settings[group].factor_interval == 0

    def _share(self, size: int) -> slice:
        worker, W = self._worker, self._num_workers
        return slice(size * worker // W, size * (worker + 1) // W)

    def _average(self, moving: Sequence[int]) -> None:
        for map_, factors in zip(self._maps, self.factors, strict=True):
            if map_.group not in moving or not self._renews(map_.group):
                continue
            settings, updates = self.settings[map_.group], int(self._num_updates[map_.group])
            seen = updates // settings.factor_interval
            beginning = updates < max(1, settings.cold_updates)  # a plain mean of all so far
            weight = 1 / (seen + 1) if beginning else 1 - settings.stat_decay
            for factor in factors:
                factor.average(self._share(factor.size), weight)

    def _invert(self, moving: Sequence[int]) -> None:
        for i, (map_, (A, G)) in enumerate(zip(self._maps, self.factors, strict=True)):
            group, owned = map_.group, self._owners[i] == self._worker
            if group not in moving or self._cold(group) or not owned:
                continue
            settings = self.settings[group]
            natural = int(self._num_updates[group]) - settings.cold_updates
            due = natural % settings.inverse_interval == 0 or not A.inverse[0].any()
            if due and not invert(A, G, settings.damping, settings.inverse):
                self._failed()

    @np.errstate(all="ignore")  # a gradient that is not finite is not applied
    def _precondition(self, gradient: Tensor, moving: Sequence[int]) -> None:
        gains = [0.0] * len(self.settings)
        for map_, (A, G) in zip(self._maps, self.factors, strict=True):
            if map_.group not in moving or self._cold(map_.group):
                continue
            settings = self.settings[map_.group]
            rows, V = self._share(map_.rows), map_.matrix(gradient)
            if settings.inverse == "eigh":
                direction = by_eigenvectors(V, A, G, settings.damping, rows)
            else:
                direction = (G.inverse[rows] @ V) @ A.inverse
            map_.write(self._direction, direction, rows)
            gain = np.sum(direction.numpy() * V.numpy()[rows], dtype=np.float64)
            gains[map_.group] += float(gain)
        if self._worker == 0 and 0 in moving:
            for part in self._known:
                own = gradient[part.piece]
                self._direction[part.piece] = own / (part.fisher + self.settings[0].damping)
                gains[0] += float(self._direction[part.piece].double() @ own.double())
        self._gains[self._worker] = gains


def _factors(
    maps: Sequence[LinearMap], statistics: Tensor, contributions: Tensor
) -> list[tuple[Factor, Factor]]:
    """Return A and G of each map, as views of `statistics` and of `contributions` [W, ...]."""
    sizes = [(map_, size) for map_ in maps for size in (map_.columns, map_.rows)]
    remembered = torch.split(statistics, [2 * size * size + size for _, size in sizes])
    contributed = torch.split(contributions, [contribution_size(*pair) for pair in sizes], 1)
    factors = [
        Factor(map_, size, piece, rows)
        for (map_, size), piece, rows in zip(sizes, remembered, contributed, strict=True)
    ]
    return list(zip(factors[::2], factors[1::2], strict=True))


def _owners(maps: Sequence[LinearMap], num_workers: int) -> dict[int, int]:
    """Return the worker that inverts the factors of each map.

    The most expensive inversions are dealt first, each to the worker with the least work.
    """
    costs = [map_.columns**3 + map_.rows**3 for map_ in maps]
    owners: dict[int, int] = {}
    loads = [[0] * num_workers for _ in range(num_groups(maps))]
    for i in sorted(range(len(maps)), key=lambda i: -costs[i]):
        load = loads[maps[i].group]
        owners[i] = load.index(min(load))
        load[owners[i]] += costs[i]
    return owners


def _pieces(maps: Sequence[LinearMap], known: Sequence[Known]) -> list[list[slice]]:
    """Return the places of each group's parameters in the vector of all."""
    grouped = [(map_.group, piece) for map_ in maps for piece in map_.pieces]
    grouped += [(0, part.piece) for part in known]
    return [
        _joined([piece for of, piece in grouped if of == group])
        for group in range(num_groups(maps))
    ]


def _joined(pieces: Sequence[slice]) -> list[slice]:
    """Return the pieces in order, with adjacent ones joined."""
    joined: list[slice] = []
    for piece in sorted(pieces, key=lambda piece: piece.start):
        begin = joined.pop().start if joined and joined[-1].stop == piece.start else piece.start
        joined.append(slice(begin, piece.stop))
    return joined


def _scale(change: float, most: float) -> float:
    """Return ν, the largest number up to 1 with ν² `change` ≤ `most`.

    Return 0 for a negative change, which only a broken inverse gives.
    """
    if change < 0:
        return 0.0
    return math.sqrt(most / change) if change > most else 1.0
