"""Optimizers over a flat parameter vector, whose statistics may lie in shared memory.

A process hands its gradient over as an argument. Processes move parameters and statistics without a lock: two steps at the
same moment may lose parts of one another, which Hogwild (Niu et al. 2011) shows to be harmless while it is rare.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Samples = Sequence[
    tuple[Tensor, Tensor]
]  # of each linear map of a network: inputs [N, columns], gradients of outputs [N, rows]
Stage = Callable[[], object]


class SharedOptimizer:
    """What a contribution does to the parameters."""

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """Moves the parameters by one gradient [P]."""
        raise NotImplementedError

    def select(self, groups: Sequence[int]) -> None:
        """Which groups of parameters move from here on; here there is one."""

    def adapt(self, divergence: float, *, desired: float) -> None:
        """Chooses the next step size by how far the last step went; nothing here."""

    @property
    def step_size_factor(self) -> float:
        """What `adapt` has made of the step size; 1 where it does nothing."""
        return 1.0

    @property
    def wants_samples(self) -> bool:
        """Whether `contribute` has a use for samples now; all workers' optimizers say the same between two meetings."""
        return False

    def contribute(self, samples: Samples) -> None:
        """Takes what a worker knows besides its gradient, behind a barrier; nothing here."""

    def stages(self, gradient: Tensor) -> Sequence[Stage]:
        """What all workers do before the step, and meet after each; `gradient` [P] is the mean of all. Nothing here."""
        return ()


def statistics_size(name: str, num_parameters: int, *, amsgrad: bool = False) -> int:
    """How many numbers the optimizer called `name` remembers about `num_parameters` parameters."""
    return (2 + amsgrad) * num_parameters + 1 if name == "adam" else num_parameters


class SharedAdam(SharedOptimizer):
    """Adam (Kingma & Ba 2015), AMSGrad (Reddi et al. 2018) by option: PyTorch's fused kernel over memory that others move too.

    `torch.optim.Adam` calls the same, but its constructor imports torch's compiler, 1.3 s and 70 MB in every process, and what
    comes before the call takes three times as long as a kernel for 10,000 parameters.
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
        """`parameters` [P]; `statistics` [`statistics_size`], zero at first: m, v, with AMSGrad max v, and the step count."""
        P = parameters.numel()
        assert statistics.shape == (statistics_size("adam", P, amsgrad=amsgrad),)
        self._parameters = parameters
        self._m, self._v, *self._max_v = torch.split(statistics[:-1], P)
        self._num_steps = statistics[-1]
        self._betas, self._eps, self._amsgrad = betas, eps, amsgrad

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """m ← β₁m + (1-β₁)g; v ← β₂v + (1-β₂)g²; θ ← θ - η m̂ / (√v̂ + ε)."""
        self._num_steps += 1
        torch._fused_adam_(
            [self._parameters],
            [gradient],
            [self._m],
            [self._v],
            self._max_v,
            [self._num_steps],
            lr=learning_rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=0.0,
            eps=self._eps,
            amsgrad=self._amsgrad,
            maximize=False,
        )


class SharedRMSprop(SharedOptimizer):
    """RMSprop without centering (Mnih et al. 2016, eq. S2); the paper has ε inside the root, `torch.optim.RMSprop` outside."""

    def __init__(
        self,
        parameters: Tensor,
        statistics: Tensor,
        *,
        alpha: float = 0.99,
        eps: float = 1e-5,
        eps_inside_root: bool = False,
    ) -> None:
        """`parameters` [P]; `statistics` [P]: the running mean of g²."""
        assert statistics.shape == parameters.shape
        self._parameters, self._mean_square = parameters, statistics
        self._scratch = torch.empty_like(parameters)
        self._alpha, self._eps, self._eps_inside_root = alpha, eps, eps_inside_root

    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """s ← αs + (1-α)g²; θ ← θ - η g / √(s + ε), or - η g / (√s + ε)."""
        s = self._mean_square.mul_(self._alpha).addcmul_(gradient, gradient, value=1 - self._alpha)
        if self._eps_inside_root:
            root = torch.add(s, self._eps, out=self._scratch).sqrt_()
        else:
            root = torch.sqrt(s, out=self._scratch).add_(self._eps)
        self._parameters.addcdiv_(gradient, root, value=-learning_rate)
