"""Exchanges: when a worker's contribution moves the shared parameters."""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from torch import Tensor

from shared_optim.contribution import Applied, Contribution
from shared_optim.flat import clip_norm_
from shared_optim.mean import Mean
from shared_optim.optimizers import SharedOptimizer
from shared_optim.rendezvous import Rendezvous


class Exchange(Protocol):
    """A worker's access to the shared parameters and to means over workers."""

    asynchronous: bool  # each contribution acts alone, while others may move the parameters

    @property
    def lost(self) -> bool:
        """Whether what workers wrote at the next meeting is overwritten; see `Rendezvous`."""

    def pull(self, local: Tensor) -> None:
        """Copy the shared parameters into a local vector [P]."""

    def push(self, contribution: Contribution) -> Applied | None:
        """Contribute, and return the effect.

        A gradient that is not finite is not applied. Return None where this worker replaces one
        that died after it had completed this push.
        """

    def average(self, values: Tensor) -> Tensor:
        """Return means [K], float64, over the workers whose contributions act together."""

    def meet(self) -> None:
        """Wait until all workers whose contributions act together have called this."""

    def begin_round(self) -> None:
        """Begin a segment: a replacement of this worker will start from here."""


class Hogwild:
    """A contribution acts at once, without waiting and without locks (Niu et al. 2011).

    Steps of two workers at the same moment may lose some elements of each other, about one in a
    thousand; `shared_optim.optimizers` says why.
    """

    asynchronous, lost = True, False

    def __init__(self, *, parameters: Tensor, optimizer: SharedOptimizer, max_norm: float) -> None:
        """`parameters` [P] is the shared vector that `optimizer` moves."""
        self._parameters, self._optimizer, self._max_norm = parameters, optimizer, max_norm

    def pull(self, local: Tensor) -> None:
        """Copy the shared parameters into a local vector [P]."""
        local.copy_(self._parameters)

    def push(self, contribution: Contribution) -> Applied:
        """Clip the gradient in place, and apply it if it is finite."""
        norm = clip_norm_(contribution.gradient, self._max_norm)
        if math.isfinite(norm):
            self._optimizer.step(contribution)
        return Applied(norm, self._optimizer.step_size_factor)

    def average(self, values: Tensor) -> Tensor:
        """Return the values themselves, float64: a contribution acts alone."""
        return values.double()

    def meet(self) -> None:
        """Return at once."""

    def begin_round(self) -> None:
        """Do nothing: a replacement needs no starting point."""


class Barrier:
    """Contributions act together: one step with the mean gradient of W workers.

    It gives the same bits on every run. If worker 0 dies during a step of the optimizer, its
    replacement makes that step again.
    """

    asynchronous = False

    def __init__(
        self,
        *,
        rendezvous: Rendezvous,
        mean: Mean,
        optimizer: SharedOptimizer,
        parameters: Tensor,
        max_norm: float,
        steps: bool,
    ) -> None:
        """`parameters` [P] is the vector that `optimizer` moves; `steps`: this worker moves it."""
        self._rendezvous, self._mean, self._optimizer = rendezvous, mean, optimizer
        self._parameters, self._max_norm, self._steps = parameters.numpy(), max_norm, steps

    @property
    def lost(self) -> bool:
        """See `Rendezvous`."""
        return self._rendezvous.lost

    def pull(self, local: Tensor) -> None:
        """Copy the shared parameters into a local vector [P]."""
        np.copyto(local.numpy(), self._parameters)

    def push(self, contribution: Contribution) -> Applied | None:
        """Make one step with the mean of all workers' gradients; see `Exchange`."""
        rendezvous, mean = self._rendezvous, self._mean
        rendezvous.meet(lambda: self._contribute(contribution))
        rendezvous.meet(mean.average_slice)
        for stage in self._optimizer.stages(contribution.with_gradient(mean.gradient)):
            rendezvous.meet(stage)
        norm, repeated = mean.norm, rendezvous.catching_up
        rendezvous.meet(self._stepping(norm, contribution))
        return None if repeated else Applied(norm, self._optimizer.step_size_factor)

    def average(self, values: Tensor) -> Tensor:
        """Return means [K], the same bits for each worker; or its own values where `lost`."""
        lost, turn = self.lost, self._rendezvous.position % 2
        self._rendezvous.meet(lambda: self._mean.write_numbers(values, turn=turn))
        return values.double() if lost else self._mean.numbers(len(values), turn=turn)

    def meet(self) -> None:
        """Wait until all workers have called this as often."""
        self._rendezvous.meet()

    def begin_round(self) -> None:
        """Begin a segment: a replacement of this worker will start from here."""
        self._rendezvous.begin_round()

    def _contribute(self, contribution: Contribution) -> None:
        self._mean.write(contribution.gradient)
        self._optimizer.contribute(contribution)

    def _stepping(self, norm: float, contribution: Contribution) -> Callable[[], None]:
        def step() -> None:
            if self._steps and math.isfinite(norm):
                gradient = self._mean.no_longer_than(self._max_norm, norm=norm)
                self._optimizer.step(contribution.with_gradient(gradient))

        return step
