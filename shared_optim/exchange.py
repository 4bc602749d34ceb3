"""Exchanges: when a worker's contribution acts on the shared parameters."""

from torch import Tensor

from shared_optim.optimizers import SharedOptimizer


class Hogwild:
    """A contribution acts at once; nobody waits and nothing is locked (Niu et al. 2011)."""

    def __init__(self, *, parameters: Tensor, optimizer: SharedOptimizer) -> None:
        """`parameters`: the shared vector [P] that `optimizer` moves."""
        self._parameters, self._optimizer = parameters, optimizer

    def pull(self, local: Tensor) -> None:
        """Copies the shared parameters into a local vector [P]."""
        local.copy_(self._parameters)

    def push(self, gradient: Tensor, *, learning_rate: float) -> None:
        """Applies a gradient [P] to the shared parameters."""
        self._optimizer.step(gradient, learning_rate=learning_rate)
