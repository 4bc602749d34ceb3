"""Exchanges: when a worker's contribution acts on the shared parameters."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shared_optim.flat import clip_norm_, square
from shared_optim.futex import sleep_while, wake
from shared_optim.memory import SharedTensor
from shared_optim.optimizers import Samples, SharedOptimizer

AVERAGED_AT_MOST = 4  # numbers in one call of `average`
LOOKS = 30  # at the others' rows, some 20 microseconds; looking for longer takes from those who still compute, where cores share
LONGEST_SLEEP = 0.1  # seconds, after which a waiting worker says that it lives


class Exchange(Protocol):
    """What a worker does with its gradient, and what it knows of the others."""

    asynchronous: bool  # whether each contribution acts alone, and others may have moved the parameters since the last pull

    @property
    def step_size_factor(self) -> float:
        """What `adapt` has made of the step size."""

    @property
    def wants_samples(self) -> bool:
        """Whether the next push has a use for samples."""

    @property
    def lost(self) -> bool:
        """Whether nobody knows any more what was said at the next meeting, because that worker had arrived at a later one."""

    def pull(self, local: Tensor) -> None:
        """Copies the shared parameters into a local vector [P]."""

    def push(
        self, gradient: Tensor, *, learning_rate: float, max_norm: float, samples: Samples = ()
    ) -> float | None:
        """Contributes a gradient [P]; returns the norm, before clipping, of what was applied. One not finite is not.

        None where a worker that died had made all of this push, before this one replaced it. `samples` are for an optimizer that
        knows the curvature; behind a barrier only.
        """

    def select(self, groups: Sequence[int]) -> None:
        """Which groups of parameters move from here on, for an optimizer that has any; none named: all."""

    def adapt(self, divergence: float, *, desired: float) -> None:
        """Lets an optimizer that can choose its next step size by how far the last one went; everybody says the same."""

    def average(self, values: Tensor) -> Tensor:
        """Means [K] over the workers whose contributions act together, float64."""

    def meet(self) -> None:
        """Returns when all workers whose contributions act together have called it."""

    def begin_round(self) -> None:
        """Says that all calls until now belong to segments that are done."""


class Hogwild:
    """A contribution acts at once; nobody waits and nothing is locked (Niu et al. 2011)."""

    asynchronous, lost, wants_samples = True, False, False
    step_size_factor = 1.0

    def __init__(self, *, parameters: Tensor, optimizer: SharedOptimizer) -> None:
        """`parameters`: the shared vector [P] that `optimizer` moves."""
        self._parameters, self._optimizer = parameters, optimizer

    def pull(self, local: Tensor) -> None:
        """Copies the shared parameters into a local vector [P]."""
        local.copy_(self._parameters)

    def push(
        self, gradient: Tensor, *, learning_rate: float, max_norm: float, samples: Samples = ()
    ) -> float:
        """Clips a gradient [P] and applies it to the shared parameters; returns its norm before."""
        norm = clip_norm_(gradient, max_norm)
        if math.isfinite(norm):
            self._optimizer.step(gradient, learning_rate=learning_rate)
        return norm

    def select(self, groups: Sequence[int]) -> None:
        """All move."""

    def adapt(self, divergence: float, *, desired: float) -> None:
        """No optimizer without a barrier does."""

    def average(self, values: Tensor) -> Tensor:
        """The values themselves: a contribution acts alone."""
        return values.double()

    def meet(self) -> None:
        """Nobody waits."""

    def begin_round(self) -> None:
        """Nothing is counted."""


@dataclass(frozen=True, kw_only=True)
class BarrierMemory:
    """What W workers write so that their contributions act together; a row each, with one writer."""

    gradients: SharedTensor  # [W, P] float32
    mean: SharedTensor  # [P] float32, a slice each
    numbers: SharedTensor  # [2, W, AVERAGED_AT_MOST] float64
    squares: SharedTensor  # [W] float64, of the length of each one's slice of the mean
    arrivals: SharedTensor  # [W] int64: at how many meetings it has arrived
    rounds: SharedTensor  # [W] int64: at how many when its present segment began

    @classmethod
    def create(
        cls, num_workers: int, num_parameters: int, *, context: BaseContext
    ) -> "BarrierMemory":
        """All zero. OSError if there is no room for it."""
        W, P = num_workers, num_parameters
        return cls(
            gradients=SharedTensor(W, P, dtype=torch.float32, context=context),
            mean=SharedTensor(P, dtype=torch.float32, context=context),
            numbers=SharedTensor(2, W, AVERAGED_AT_MOST, dtype=torch.float64, context=context),
            squares=SharedTensor(W, dtype=torch.float64, context=context),
            arrivals=SharedTensor(W, dtype=torch.int64, context=context),
            rounds=SharedTensor(W, dtype=torch.int64, context=context),
        )


class Barrier:
    """Contributions act together: one step with the mean gradient of W workers, the same numbers on every run.

    Nothing is locked. Each worker counts in its row the meetings at which it has arrived, and waits until everybody's count
    is as high. A worker that dies is replaced by one that starts the segment anew: meetings at which its predecessor had arrived
    cost it nothing, and at the next one it is the one that the others wait for. A step of the optimizer during which worker 0
    dies is made once more.
    """

    asynchronous = False

    def __init__(
        self,
        *,
        memory: BarrierMemory,
        worker: int,
        parameters: Tensor,
        optimizer: SharedOptimizer,
        beat: Callable[[], None],
        patient: bool,
    ) -> None:
        """`parameters` [P], which `optimizer` moves; `beat` is called while waiting.

        `patient`: each worker has a core of its own, on which it may look for the others before it sleeps.
        """
        self._worker, self._parameters, self._optimizer, self._beat = (
            worker,
            parameters.numpy(),
            optimizer,
            beat,
        )
        self._mean, self._clipped = memory.mean.tensor, memory.gradients.tensor[0]
        self._numbers, self._squares = memory.numbers.tensor, memory.squares.tensor.numpy()
        self._arrivals, self._rounds = memory.arrivals.tensor.numpy(), memory.rounds.tensor.numpy()
        self._addresses = [self._arrivals[i:].ctypes.data for i in range(len(self._arrivals))]
        self._position = int(self._rounds[worker])
        # NumPy's calls take a third of the time of PyTorch's, which for small networks is nearly all of a push.
        self._gradients, self._mean_array = (
            memory.gradients.tensor.numpy(),
            memory.mean.tensor.numpy(),
        )
        W, P = self._gradients.shape
        own = slice(P * worker // W, P * (worker + 1) // W)
        self._slices, self._own_mean = self._gradients[:, own], self._mean_array[own]
        self._fence, self._patience = threading.Lock(), LOOKS if patient else 0

    @property
    def step_size_factor(self) -> float:
        """What `adapt` has made of the step size."""
        return self._optimizer.step_size_factor

    @property
    def wants_samples(self) -> bool:
        """Whether the next push has a use for samples."""
        return self._optimizer.wants_samples

    @property
    def catching_up(self) -> bool:
        """Whether the next meeting is one at which the predecessor had arrived."""
        return self._position < int(self._arrivals[self._worker])

    @property
    def lost(self) -> bool:
        """Whether it is one before the predecessor's last; what was said at the last is there, for nobody can be two ahead."""
        return self._position + 1 < int(self._arrivals[self._worker])

    def pull(self, local: Tensor) -> None:
        """Copies the shared parameters into a local vector [P]."""
        np.copyto(local.numpy(), self._parameters)

    def push(
        self, gradient: Tensor, *, learning_rate: float, max_norm: float, samples: Samples = ()
    ) -> float | None:
        """One step with the mean of everybody's gradient [P]; returns the mean's norm before it is clipped. See `Exchange`."""
        self._meet(lambda: self._contribute(gradient, samples))
        self._meet(self._average_own_slice)
        for stage in self._optimizer.stages(self._mean):
            self._meet(stage)
        norm = math.sqrt(self._squares.sum())
        repeated = self.catching_up
        self._meet(lambda: self._step(norm, learning_rate, max_norm))
        return None if repeated else norm

    def select(self, groups: Sequence[int]) -> None:
        """Which groups of parameters move from here on; each worker says it."""
        self._optimizer.select(groups)

    def adapt(self, divergence: float, *, desired: float) -> None:
        """Worker 0 chooses the next step size."""
        self._meet(
            lambda: (
                self._optimizer.adapt(divergence, desired=desired) if self._worker == 0 else None
            )
        )

    def average(self, values: Tensor) -> Tensor:
        """Means [K] over all workers, float64, the same bits for each of them; one's own values where they are `lost`."""
        lost, K = self.lost, values.shape[0]
        # Who is ahead writes the next numbers while others read these, and can't be ahead by two.
        numbers = self._numbers[self._position % 2]
        self._meet(lambda: numbers[self._worker, :K].copy_(values))
        return values.double() if lost else numbers[:, :K].mean(0)

    def meet(self) -> None:
        """Returns when all workers have called it as often."""
        self._meet(lambda: None)

    def begin_round(self) -> None:
        """A replacement will start here."""
        self._rounds[self._worker] = self._position

    def _meet(self, contribute: Callable[[], object]) -> None:
        arrivals = self._arrivals
        if not self.catching_up:
            contribute()
            with self._fence:  # what was written is seen before the arrival, on processors that reorder writes, too
                pass
            arrivals[self._worker] = self._position + 1
            wake(self._addresses[self._worker])
        self._position += 1
        looks = 0
        while (least := min(seen := arrivals.tolist())) < self._position:
            looks += 1
            if looks > self._patience:
                self._beat()
                sleep_while(self._addresses[seen.index(least)], least, seconds=LONGEST_SLEEP)
        with self._fence:
            pass

    def _contribute(self, gradient: Tensor, samples: Samples) -> None:
        np.copyto(self._gradients[self._worker], gradient.numpy())
        self._optimizer.contribute(samples)

    def _average_own_slice(self) -> None:
        mean = self._own_mean
        with np.errstate(all="ignore"):  # what is not finite is told by the norm
            np.add.reduce(self._slices, axis=0, out=mean)
            np.divide(mean, len(self._slices), out=mean)
        self._squares[self._worker] = square(mean)

    def _step(self, norm: float, learning_rate: float, max_norm: float) -> None:
        if self._worker == 0 and math.isfinite(norm):
            gradient = self._mean
            if (
                norm > max_norm
            ):  # in memory that is free by now: a replacement finds the mean as it was
                np.multiply(self._mean_array, max_norm / norm, out=self._gradients[0])
                gradient = self._clipped
            self._optimizer.step(gradient, learning_rate=learning_rate)
