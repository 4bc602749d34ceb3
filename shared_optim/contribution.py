"""Contribution: what a worker sends to the shared parameters at an update."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

# For each linear map of a network: inputs [N, columns], gradients by its outputs [N, rows].
Samples = Sequence[tuple[Tensor, Tensor]]


def no_samples() -> Samples:
    """Return no samples: the contribution tells nothing of the curvature."""
    return ()


@dataclass(kw_only=True)
class Contribution:
    """A gradient, with all that an optimizer may need beside it.

    An exchange passes the optimizer the same contribution with the gradient to apply: one worker's,
    or the mean of all workers'.
    """

    gradient: Tensor  # [P]
    learning_rate: float
    groups: tuple[int, ...] = ()  # of parameters that move, for an optimizer with groups; (): all
    samples: Callable[[], Samples] = no_samples  # called only where an optimizer needs them
    divergence: float | None = None  # nats by which the last step moved the policy; None: unknown
    statistics: dict[str, float] = field(default_factory=dict)  # of the loss

    def with_gradient(self, gradient: Tensor) -> "Contribution":
        """Return the same contribution with another gradient [P]."""
        return Contribution(
            gradient=gradient,
            learning_rate=self.learning_rate,
            groups=self.groups,
            samples=self.samples,
            divergence=self.divergence,
            statistics=self.statistics,
        )


class Applied(NamedTuple):
    """The effect of a push."""

    norm: float  # of the gradient before clipping; nothing was applied if it is not finite
    step_size_factor: float  # by which the optimizer multiplies the learning rate
