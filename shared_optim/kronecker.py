"""Kronecker factors of the Fisher matrix of a linear map, their running averages and inverses (Martens & Grosse 2015)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RETRIES = 3  # of an inversion by Cholesky, each with ten times the damping


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """Where a layer's parameters lie in the vector of all, and how many samples of it a worker contributes."""

    weight: int  # start of [rows, inputs]
    bias: int  # start of [rows]
    rows: int  # outputs
    inputs: int  # without the one of the bias
    group: int  # which trust region it belongs to
    num_samples: int  # of a worker's contribution
    locations: int = 1  # at which a convolution applies it to one case

    @property
    def pieces(self) -> tuple[slice, slice]:
        """Where weight and bias lie."""
        return slice(self.weight, self.weight + self.rows * self.inputs), slice(
            self.bias, self.bias + self.rows
        )

    @property
    def columns(self) -> int:
        """Inputs and the 1 of the bias."""
        return self.inputs + 1

    def matrix(self, vector: Tensor) -> Tensor:
        """This map's part of a vector [P] as [rows, columns], a copy."""
        weight, bias = (vector.numpy()[piece] for piece in self.pieces)
        return torch.from_numpy(
            np.concatenate((weight.reshape(self.rows, self.inputs), bias[:, None]), 1)
        )

    def write(self, vector: Tensor, matrix: Tensor, rows: slice) -> None:
        """Puts some rows of such a matrix where they belong in a vector [P]."""
        weight, bias = (vector.numpy()[piece] for piece in self.pieces)
        weight.reshape(self.rows, self.inputs)[rows] = matrix.numpy()[:, :-1]
        bias[rows] = matrix.numpy()[:, -1]


class Factor:
    """A or G: its running average, and what its inverse is made of."""

    def __init__(
        self, map_: LinearMap, size: int, statistics: Tensor, contributions: Tensor
    ) -> None:
        """`statistics` [2 size² + size]; `contributions` [W, `contribution_size`]."""
        self.size = size
        square = size * size
        mean, inverse, self.eigenvalues = torch.split(statistics, [square, square, size])
        self.mean, self.inverse = (
            mean.view(size, size),
            inverse.view(size, size),
        )  # with "eigh" the latter holds eigenvectors
        self._by_samples = map_.num_samples < size
        self._contributions = contributions.view(
            len(contributions), -1, size
        )  # [W, samples or rows, size]

    def contribute(self, worker: int, x: Tensor, scale: float) -> None:
        """x [M, size]: scale * Σ x xᵀ, or what it is made of."""
        out = self._contributions[worker]
        if self._by_samples:
            torch.mul(x, math.sqrt(scale), out=out)
        else:
            torch.addmm(out, x.t(), x, beta=0, alpha=scale, out=out)

    @np.errstate(all="ignore")  # what is not finite is looked for
    def average(self, rows: slice, weight: float) -> None:
        """Moves some rows of the running average by `weight` towards the mean of all contributions, if that is finite."""
        W = self._contributions.shape[0]
        if not self._by_samples:
            # NumPy's calls take a third of the time of PyTorch's, and these factors are small.
            new, mean = (
                np.add.reduce(self._contributions.numpy()[:, rows], axis=0),
                self.mean.numpy()[rows],
            )
            if np.isfinite(new).all():
                mean *= 1 - weight
                new *= weight / W
                mean += new
            return
        # No product is larger than the sum of all squares, which is looked at much faster than all products are.
        samples = self._contributions.flatten(0, 1)
        if bool(torch.isfinite(samples.square().sum())):
            self.mean[rows].addmm_(samples[:, rows].t(), samples, beta=1 - weight, alpha=weight / W)


def contribution_size(map_: LinearMap, size: int) -> int:
    """Numbers that a worker contributes to a factor of `size` rows: the samples, or the products if these are fewer."""
    return min(map_.num_samples, size) * size


def invert(A: Factor, G: Factor, damping: float, method: str) -> bool:
    """Renews both inverses, or leaves both as they are and returns False; after a failure it goes on with twice the precision."""
    for attempt in range(RETRIES + 1 if method == "cholesky" else 2):
        if method == "cholesky":
            found = _cholesky(A.mean, G.mean, damping * 10**attempt, precise=attempt > 0)
        else:
            found = _eigh(A.mean, G.mean, precise=attempt > 0)
        if found is not None and all(
            bool(torch.isfinite(tensor).all()) for pair in found for tensor in pair
        ):
            for factor, (inverse, eigenvalues) in zip((A, G), found, strict=True):
                factor.inverse.copy_(inverse)
                factor.eigenvalues.copy_(eigenvalues)
            return True
    return False


_Found = (
    list[tuple[Tensor, Tensor]] | None
)  # of A and of G: inverse or eigenvectors, and eigenvalues


def _cholesky(A: Tensor, G: Tensor, damping: float, *, precise: bool) -> _Found:
    """(A + π √λ I)⁻¹ and (G + √λ / π I)⁻¹, π² the ratio of their mean eigenvalues (Martens & Grosse 2015, eq. 31)."""
    traces = [max(float(factor.trace()) / len(factor), 1e-10) for factor in (A, G)]
    pi, found = math.sqrt(traces[0] / traces[1]), []
    for factor, by in ((A, pi * math.sqrt(damping)), (G, math.sqrt(damping) / pi)):
        damped = factor.double() if precise else factor.clone()
        damped.diagonal().add_(by)
        root, failed = torch.linalg.cholesky_ex(damped)
        if failed:
            return None
        found.append((torch.cholesky_inverse(root), torch.zeros(len(factor))))
    return found


def _eigh(A: Tensor, G: Tensor, *, precise: bool) -> _Found:
    """Eigenvectors (in columns) and eigenvalues; the damping comes when they are used."""
    found = []
    for factor in (A, G):
        try:
            values, vectors = torch.linalg.eigh(factor.double() if precise else factor)
        except RuntimeError:  # LinAlgError is one
            return None
        found.append((vectors, values.clamp_min(0.0)))
    return found


def by_eigenvectors(V: Tensor, A: Factor, G: Factor, damping: float, rows: slice) -> Tensor:
    """Some rows of (A ⊗ G + λ I)⁻¹ V."""
    inside = G.inverse.t() @ V @ A.inverse / (torch.outer(G.eigenvalues, A.eigenvalues) + damping)
    return G.inverse[rows] @ inside @ A.inverse.t()
