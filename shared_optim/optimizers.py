"""Optimizers over a flat parameter vector, whose statistics may lie in shared memory.

A gradient is an argument of a step. Processes move parameters and statistics without a lock, in
place: an element is read, moved and written back within nanoseconds. What another process writes to
it in between is lost. That holds where a gradient is zero, too, because the step of zero is written
like any other; so processes with gradients in disjoint slices lose steps, too. It is rare: two
processes that did nothing but push lost 0.15 % of their steps on two busy cores, and 1.2 % is the
most that was seen. Hogwild (Niu et al. 2011) shows rare losses to be harmless.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shared_optim.contribution import Contribution

Stage = Callable[[], object]


class SharedOptimizer:
    """The effect of a contribution on the parameters; a subclass must define only `step`."""

    def step(self, contribution: Contribution) -> None:
        """Move the parameters by the contribution's gradient [P]."""
        raise NotImplementedError

    @property
    def step_size_factor(self) -> float:
        """The number by which the learning rate is multiplied."""
        return 1.0

    def contribute(self, contribution: Contribution) -> None:
        """Write what this worker contributes besides its gradient; only at a barrier."""

    def stages(self, contribution: Contribution) -> Sequence[Stage]:
        """Return what each worker does before the step; all workers meet after each stage.

        The contribution's gradient is the mean of all workers'.
        """
        return ()


def statistics_size(name: str, num_parameters: int, *, amsgrad: bool = False) -> int:
    """Return how many numbers the optimizer `name` stores for `num_parameters` parameters."""
    return (2 + amsgrad) * num_parameters + 1 if name == "adam" else num_parameters


class SharedAdam(SharedOptimizer):
    """Adam (Kingma & Ba 2015), by option AMSGrad (Reddi et al. 2018), over shared memory.

    It calls PyTorch's fused kernel, like `torch.optim.Adam`. But that class imports torch's
    compiler when it is constructed, which costs every process 1.3 s and 70 MB. Its code before the
    kernel takes three times as long as the kernel for 10,000 parameters.
    """

    def __init__(
        self,
        parameters: Tensor,
        statistics: Tensor,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        amsgrad: bool = False,
    ) -> None:
        """`parameters` [P]; `statistics` [`statistics_size`], zero at first.

        The statistics are m, v, with AMSGrad max v, and the number of steps.
        """
        P = parameters.numel()
        assert statistics.shape == (statistics_size("adam", P, amsgrad=amsgrad),)
        self._parameters = parameters
        self._m, self._v, *self._max_v = torch.split(statistics[:-1], P)
        self._num_steps = statistics[-1]
        self._betas, self._eps, self._amsgrad = betas, eps, amsgrad

    def step(self, contribution: Contribution) -> None:
        """m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; θ ← θ - η m̂ / (√v̂ + ε)."""
        self._num_steps += 1
        torch._fused_adam_(
            [self._parameters],
            [contribution.gradient],
            [self._m],
            [self._v],
            self._max_v,
            [self._num_steps],
            lr=contribution.learning_rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=self._amsgrad,
            maximize=False,
        )


class SharedRMSprop(SharedOptimizer):
    """RMSprop without centering (Mnih et al. 2016, eq. S2).

    The paper has ε inside the root, `torch.optim.RMSprop` outside.
    """

    def __init__(
        self,
        parameters: Tensor,
        statistics: Tensor,
        *,
        alpha: float = 0.99,
        eps: float = 1e-5,
        eps_inside_root: bool = False,
    ) -> None:
        """`parameters` [P]; `statistics` [P], zero at first: the running mean of g²."""
        assert statistics.shape == parameters.shape
        self._parameters, self._mean_square = parameters, statistics
        self._scratch = torch.empty_like(parameters)
        self._alpha, self._eps, self._eps_inside_root = alpha, eps, eps_inside_root

    def step(self, contribution: Contribution) -> None:
        """s ← αs + (1-α)g²; θ ← θ - η g / √(s + ε), or - η g / (√s + ε)."""
        gradient = contribution.gradient
        s = self._mean_square.mul_(self._alpha).addcmul_(gradient, gradient, value=1 - self._alpha)
        if self._eps_inside_root:
            root = torch.add(s, self._eps, out=self._scratch).sqrt_()
        else:
            root = torch.sqrt(s, out=self._scratch).add_(self._eps)
        self._parameters.addcdiv_(gradient, root, value=-contribution.learning_rate)
