"""A loss's gradient, traced once: the same operations in the same order, without what autograd costs for each of them.

A minibatch of 64 steps keeps a small network busy for a third of the time that Python and autograd need to say what to do.
Tracing itself takes a second and 70 MB, for torch's symbolic shapes; so one process does it and gives the others the program.
"""

import io
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from a3c.algorithm import Algorithm, Batch
from a3c.model import ActorCritic
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class Program:
    """A traced gradient, as it goes to another process."""

    code: bytes  # TorchScript
    statistics: tuple[str, ...]  # what the loss is made of, in the order in which the program tells it
    shape: torch.Size  # [T, B] of the batches that it takes


def trace(algorithm: Algorithm, model: ActorCritic, batch: Batch) -> Program:
    """The gradient of `algorithm`'s loss for batches with the shapes of `batch`, which must carry no recording.

    For losses that neither look at a tensor's values in Python nor at a batch's `entropy_scale`.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert all(parameter.dim() < 4 for parameter in parameters.values()), "convolutions lie in another order in the vector"
    statistics: dict[str, Tensor] = {}

    def gradient(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors[: len(parameters)]]
        rest = tensors[len(parameters) :]
        state = dict(zip([*parameters, *buffers], [*leaves, *rest[: len(buffers)]], strict=True))
        loss, found = torch.func.functional_call(
            _Loss(algorithm, model), {f"model.{name}": tensor for name, tensor in state.items()}, (_batch(rest[len(buffers) :]),)
        )
        statistics.update(found)
        pieces = torch.autograd.grad(loss, leaves, materialize_grads=True)
        return torch.cat([piece.reshape(-1) for piece in pieces]), torch.stack([*found.values()])

    arguments = (*parameters.values(), *buffers.values(), *_tensors(batch))
    arguments = tuple(tensor.detach() for tensor in arguments)
    graph = make_fx(gradient)(*arguments)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is no longer developed; nothing has followed it that needs no compiler
        torch.jit.save(torch.jit.trace(graph, arguments, check_trace=False), buffer)  # type: ignore[no-untyped-call]
    return Program(code=buffer.getvalue(), statistics=tuple(statistics), shape=batch.advantages.shape)


class TracedGradient:
    """A program with the parameters that it is for."""

    def __init__(self, program: Program, model: ActorCritic) -> None:
        """The model's parameters and buffers must stay in the memory where they are."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._function = torch.jit.load(io.BytesIO(program.code))  # type: ignore[no-untyped-call]
        self._program = program
        self._model = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]

    def fits(self, batch: Batch) -> bool:
        """Whether the program is for batches like this one."""
        return batch.advantages.shape == self._program.shape and batch.steps.recording is None

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """∂loss/∂parameters [P], and what the loss is made of."""
        gradient, values = self._function(*self._model, *_tensors(batch))
        return gradient, dict(zip(self._program.statistics, values.tolist(), strict=True))


class _Loss(torch.nn.Module):
    def __init__(self, algorithm: Algorithm, model: ActorCritic) -> None:
        super().__init__()
        self.algorithm, self.model = algorithm, model

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.algorithm.loss(self.model, batch)


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    return (*batch.steps.tensors(), batch.advantages, batch.returns)


def _batch(tensors: tuple[Tensor, ...]) -> Batch:
    *steps, advantages, returns = tensors
    return Batch(steps=Segment.from_tensors(steps), advantages=advantages, returns=returns)
