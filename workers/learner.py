"""The learner: a local copy of the parameters, its gradients, and their exchange."""

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch

from a3c.algorithm import Algorithm, Batch
from a3c.networks.actor_critic import Network
from a3c.segment import Segment
from shared_optim.contribution import Contribution
from shared_optim.exchange import Exchange
from shared_optim.flat import FlatParameters
from workers.progress import ProgressTable, WorkerRow

MAX_BAD_SEGMENTS = 10  # in a row, before the worker is replaced with fresh environments


class LearningRate:
    """η, constant or falling to 0 with the steps of all workers."""

    def __init__(
        self,
        lr: float,
        *,
        of_groups: Mapping[tuple[int, ...], float],
        falls_until: int | None,
    ) -> None:
        """`lr` is the rate, except of contributions that move just the groups in `of_groups`.

        `falls_until`: the step at which a linear decay reaches 0; None for a constant rate.
        """
        self._lr, self._of_groups, self._falls_until = lr, of_groups, falls_until
        self.steps = 0  # environment steps of all workers when the present segment began

    def __call__(self, groups: tuple[int, ...] = ()) -> float:
        """Return the rate of a contribution that moves `groups` of parameters; (): all."""
        lr = self._of_groups.get(groups, self._lr)
        if self._falls_until is None:
            return lr
        return lr * max(0.0, 1 - self.steps / self._falls_until)


class Gradient:
    """Differentiates an algorithm's loss at the present parameters.

    A kind must define the call. The other methods do nothing unless it defines them, too.
    """

    def __call__(self, batch: Batch, *, learning_rate: float) -> Contribution:
        """Return the gradient [P], valid until the next call, and what goes with it.

        The batch's weight is not in it: the learner multiplies by it.
        """
        raise NotImplementedError

    def close(self, segment: Segment, *, moved: bool) -> None:
        """End a segment after its last push; `moved`: that push moved the parameters."""

    def state(self) -> dict[str, Any]:
        """Return what the next contribution depends on."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""


class PlainGradient(Gradient):
    """Differentiates by PyTorch's autograd."""

    def __init__(self, algorithm: Algorithm, network: Network, parameters: FlatParameters) -> None:
        self._algorithm, self._network, self._parameters = algorithm, network, parameters

    def __call__(self, batch: Batch, *, learning_rate: float) -> Contribution:
        """See `Gradient`."""
        loss, statistics = self._algorithm.loss(self._network, batch)
        gradient = self._parameters.gradient(loss)
        numbers = torch.stack([*statistics.values()]).tolist()
        return Contribution(
            gradient=gradient,
            learning_rate=learning_rate,
            groups=batch.groups,
            statistics=dict(zip(statistics, numbers, strict=True)),
        )


class Learner:
    """What is learned: flat parameters, how they are differentiated, and their exchange."""

    def __init__(
        self,
        *,
        parameters: FlatParameters,
        gradient: Gradient,
        exchange: Exchange,
        learning_rate: LearningRate,
        progress: ProgressTable,
        worker: int,
    ) -> None:
        self.parameters, self.exchange, self.learning_rate = parameters, exchange, learning_rate
        self._gradient, self._progress = gradient, progress
        self._row = WorkerRow(progress, worker)
        # At a barrier all make one update together; worker 0 counts it.
        self._counts = int(exchange.asynchronous or worker == 0)
        self._bad_segments, self._all_finite, self._last_finite = 0, True, True
        self._updates_at_pull, self._pull_seconds = 0, 0.0

    def pull(self) -> None:
        """Copy the shared parameters into the local ones."""
        self._updates_at_pull = self._progress.total("updates")
        began = time.perf_counter()
        self.exchange.pull(self.parameters.vector)
        self._pull_seconds = time.perf_counter() - began

    def gradient(self, batch: Batch) -> Contribution:
        """Differentiate a batch's loss; multiply gradient and statistics by the batch's weight.

        The weight is the batch's share of all workers' steps. Nothing else weights a contribution.
        """
        learning_rate = self.learning_rate(batch.groups)
        if batch.weight == 0:
            return Contribution(
                gradient=torch.zeros_like(self.parameters.vector),
                learning_rate=learning_rate,
                groups=batch.groups,
                statistics=defaultdict(float),
            )
        contribution = self._gradient(batch, learning_rate=learning_rate)
        if batch.weight != 1:
            contribution.gradient.mul_(batch.weight)
            for name, mean in contribution.statistics.items():
                contribution.statistics[name] = batch.weight * mean
        return contribution

    def push(self, contribution: Contribution) -> None:
        """Contribute to the shared parameters; count the contribution as applied or dropped."""
        self._row.beat(time.monotonic_ns())
        policy_lag = 0
        if self.exchange.asynchronous:
            policy_lag = self._progress.total("updates") - self._updates_at_pull
        began = time.perf_counter()
        applied = self.exchange.push(contribution)
        if applied is None:  # the worker that this one replaced has counted it
            self._last_finite = True
            return
        self._last_finite = math.isfinite(applied.norm)
        self._all_finite &= self._last_finite
        if not self._last_finite:
            self._row.add("dropped_gradients", self._counts)
            return
        statistics = contribution.statistics | {
            "pull_seconds": self._pull_seconds,
            "push_seconds": time.perf_counter() - began,
            "grad_norm": applied.norm,
            "learning_rate": self.learning_rate() * applied.step_size_factor,
        }
        self._row.contribution(statistics, policy_lag=policy_lag, updates=self._counts)

    def close(self, segment: Segment) -> None:
        """End a segment. FloatingPointError after too many in a row with a dropped gradient."""
        self._gradient.close(segment, moved=self._last_finite)
        self._bad_segments = 0 if self._all_finite else self._bad_segments + 1
        self._all_finite = True
        if self._bad_segments and self._bad_segments >= MAX_BAD_SEGMENTS * self._patience(segment):
            raise FloatingPointError(
                f"gradients of {self._bad_segments} segments in a row were not finite; "
                "is --lr or --value-loss-coef too large?"
            )

    def state(self) -> dict[str, Any]:
        """Return what the next contribution depends on, except parameters."""
        return self._gradient.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._gradient.load_state(state)

    def _patience(self, segment: Segment) -> int:
        # A worker whose own segment is sound waits twice as long. Those who spoil the mean of all
        # are then replaced first.
        return 2 if bool(torch.isfinite(segment.rewards + segment.values).all()) else 1
