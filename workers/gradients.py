"""Other ways to differentiate a batch: by a traced program, and with curvature."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from a3c.acktr import NaturalActorCritic
from a3c.algorithm import Batch
from a3c.networks.actor_critic import ActorCritic, Network
from a3c.returns import Average
from a3c.segment import Segment
from shared_optim.contribution import Contribution
from workers.learner import Gradient, PlainGradient


class BoundProgram(Protocol):
    """A traced gradient with the parameters that it is for, see `a3c/fast/tracing.py`."""

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether the program is for tensors of these shapes."""

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the gradient [P], and what the loss is made of."""


class TracedGradient(Gradient):
    """Runs a traced program; differentiates plainly where the program does not fit a batch."""

    def __init__(self, program: BoundProgram, plain: PlainGradient) -> None:
        self._program, self._plain = program, plain

    def __call__(self, batch: Batch, *, learning_rate: float) -> Contribution:
        """See `Gradient`."""
        tensors = batch.tensors()
        if not self._program.fits(tensors):
            return self._plain(batch, learning_rate=learning_rate)
        gradient, statistics = self._program(tensors)
        return Contribution(
            gradient=gradient,
            learning_rate=learning_rate,
            groups=batch.groups,
            statistics=statistics,
        )


class CurvedGradient(Gradient):
    """Adds samples of the Fisher matrix, and the divergence that the last segment caused."""

    def __init__(
        self,
        plain: PlainGradient,
        algorithm: NaturalActorCritic,
        *,
        network: Network,
        model: ActorCritic,
        average: Average,
    ) -> None:
        """`network` acts and learns; samples are captured in the plain `model` inside it."""
        self._plain, self._algorithm, self._average = plain, algorithm, average
        self._network, self._model = network, model
        # Divergences: the last one that is finite, which is shown, and the next contribution's.
        self._last, self._next = 0.0, math.nan

    def __call__(self, batch: Batch, *, learning_rate: float) -> Contribution:
        """See `Gradient`."""
        contribution = self._plain(batch, learning_rate=learning_rate)
        model, steps, capture = self._model, batch.steps, self._algorithm.capture
        contribution.samples = lambda: capture(model, steps).samples
        contribution.divergence, self._next = self._next, math.nan
        if self._algorithm.desired_kl is not None:
            contribution.statistics["approx_kl"] = self._last
        return contribution

    def close(self, segment: Segment, *, moved: bool) -> None:
        """Measure how far the policy has moved, in nats, if the algorithm has a `desired_kl`."""
        if self._algorithm.desired_kl is None:
            return
        divergence = self._algorithm.divergence(self._network, segment)
        # All workers meet here. If nothing moved, one value that is not a number makes the mean of
        # all not a number.
        own = segment.weight * (divergence if moved else divergence.fill_(math.nan))
        self._next = float(self._average(own))
        if math.isfinite(self._next):
            self._last = self._next

    def state(self) -> dict[str, Any]:
        """See `Gradient`."""
        return {"divergence": self._next}

    def load_state(self, state: dict[str, Any]) -> None:
        """See `Gradient`."""
        self._next = state.get("divergence", math.nan)
