"""Kronecker factors of a linear map's Fisher matrix: running averages and inverses.

Martens & Grosse 2015.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RETRIES = 3  # of an inversion by Cholesky, each with ten times the damping


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """A layer's place in the vector of all parameters, and its number of samples per worker."""

    weight: int  # start of [rows, inputs]
    bias: int  # start of [rows]
    rows: int  # outputs
    inputs: int  # without the constant 1 for the bias
    group: int  # its trust region
    num_samples: int  # in a worker's contribution
    locations: int = 1  # where a convolution applies it to one case

    @property
    def pieces(self) -> tuple[slice, slice]:
        """The places of weight and bias in the vector."""
        return slice(self.weight, self.weight + self.rows * self.inputs), slice(
            self.bias, self.bias + self.rows
        )

    @property
    def columns(self) -> int:
        """Number of inputs, with the constant 1 for the bias."""
        return self.inputs + 1

    def matrix(self, vector: Tensor) -> Tensor:
        """Return a copy of this map's part of a vector [P] as a matrix [rows, columns]."""
        weight, bias = (vector.numpy()[piece] for piece in self.pieces)
        return torch.from_numpy(
            np.concatenate((weight.reshape(self.rows, self.inputs), bias[:, None]), 1)
        )

    def write(self, vector: Tensor, matrix: Tensor, rows: slice) -> None:
        """Write some rows of such a matrix to their places in a vector [P]."""
        weight, bias = (vector.numpy()[piece] for piece in self.pieces)
        weight.reshape(self.rows, self.inputs)[rows] = matrix.numpy()[:, :-1]
        bias[rows] = matrix.numpy()[:, -1]


class Factor:
    """A or G: its running average and its inverse."""

    def __init__(
        self, map_: LinearMap, size: int, statistics: Tensor, contributions: Tensor
    ) -> None:
        """`statistics` [2 size² + size], zeros at first; `contributions` [W, contribution size]."""
        self.size = size
        square = size * size
        mean, inverse, self.eigenvalues = torch.split(statistics, [square, square, size])
        self.mean = mean.view(size, size)
        self.inverse = inverse.view(size, size)  # with "eigh" its columns are eigenvectors
        self._by_samples = map_.num_samples < size
        # [W, samples or rows, size]
        self._contributions = contributions.view(len(contributions), -1, size)

    def contribute(self, worker: int, x: Tensor, scale: float) -> None:
        """Write scale * Σ x xᵀ of samples x [M, size], or the scaled samples if they are fewer."""
        out = self._contributions[worker]
        if self._by_samples:
            torch.mul(x, math.sqrt(scale), out=out)
        else:
            torch.addmm(out, x.t(), x, beta=0, alpha=scale, out=out)

    @np.errstate(all="ignore")  # values that are not finite are checked for
    def average(self, rows: slice, weight: float) -> None:
        """Move some rows of the running average by `weight` towards the mean of all contributions.

        Leave them as they are if that mean is not finite.
        """
        W = self._contributions.shape[0]
        if not self._by_samples:
            # These factors are small. NumPy's calls take a third of the time of PyTorch's.
            new, mean = (
                np.add.reduce(self._contributions.numpy()[:, rows], axis=0),
                self.mean.numpy()[rows],
            )
            if np.isfinite(new).all():
                mean *= 1 - weight
                new *= weight / W
                mean += new
            return
        # No product is larger than the sum of all squares. Checking that sum is much faster than
        # checking all products.
        samples = self._contributions.flatten(0, 1)
        if bool(torch.isfinite(samples.square().sum())):
            self.mean[rows].addmm_(samples[:, rows].t(), samples, beta=1 - weight, alpha=weight / W)


def contribution_size(map_: LinearMap, size: int) -> int:
    """Return how many numbers a worker contributes to a factor of `size` rows.

    These are the samples or the sums of their products, whichever are fewer.
    """
    return min(map_.num_samples, size) * size


def invert(A: Factor, G: Factor, damping: float, method: str) -> bool:
    """Renew both inverses; or leave both as they are and return False.

    A failed attempt is repeated in float64, by Cholesky with ten times the damping each time.
    """
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


# For A and for G: inverse or eigenvectors, and eigenvalues. None: the decomposition failed.
_Found = list[tuple[Tensor, Tensor]] | None


def _cholesky(A: Tensor, G: Tensor, damping: float, *, precise: bool) -> _Found:
    """Return (A + π √λ I)⁻¹ and (G + √λ / π I)⁻¹; π² is the ratio of their mean eigenvalues.

    Martens & Grosse 2015, eq. 31.
    """
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
    """Return eigenvectors (in columns) and eigenvalues; `by_eigenvectors` adds the damping."""
    found = []
    for factor in (A, G):
        try:
            values, vectors = torch.linalg.eigh(factor.double() if precise else factor)
        except RuntimeError:  # LinAlgError is a subclass
            return None
        found.append((vectors, values.clamp_min(0.0)))
    return found


def by_eigenvectors(V: Tensor, A: Factor, G: Factor, damping: float, rows: slice) -> Tensor:
    """Return some rows of (A ⊗ G + λ I)⁻¹ V, from the factors' eigenvectors and eigenvalues."""
    inside = G.inverse.t() @ V @ A.inverse / (torch.outer(G.eigenvalues, A.eigenvalues) + damping)
    return G.inverse[rows] @ inside @ A.inverse.t()
