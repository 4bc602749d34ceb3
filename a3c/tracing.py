"""A loss's gradient, traced once: the same operations, without what Python and autograd cost for each of them.

A minibatch of 64 steps keeps a small network busy for a fraction of the time that both need to say what to do.
Tracing itself takes a second and 70 MB, for torch's symbolic shapes; so one process does it and gives the others the program.
"""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from a3c.algorithm import Algorithm, Batch
from a3c.model import ActorCritic
from a3c.programs import BoundProgram, Instruction, Value
from a3c.segment import Segment


@dataclass(frozen=True, kw_only=True)
class Program:
    """A traced gradient, as it goes to another process; its inputs: parameters, buffers, what it reads of a batch."""

    reads: dict[int, tuple[torch.Size, torch.dtype]]  # of a batch's tensors
    instructions: tuple[Instruction, ...]
    gradient: Value  # [P]
    statistics: dict[str, Value]  # what the loss is made of
    shape: torch.Size  # [T, B] of the batches that it takes


def trace(algorithm: Algorithm, model: ActorCritic, batch: Batch) -> Program:
    """The gradient of `algorithm`'s loss for batches with the shapes of `batch`, which must carry no recording.

    For losses that neither look at a tensor's values in Python nor at a batch's `entropy_scale`, make no tensors, draw nothing.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    assert all(parameter.dim() < 4 for parameter in parameters.values()), (
        "convolutions lie in another order in the vector"
    )
    names: list[str] = []

    def loss(
        leaves: dict[str, Tensor], rest: dict[str, Tensor], batch: Batch
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        own = {f"model.{name}": tensor for name, tensor in {**leaves, **rest}.items()}
        total, statistics = torch.func.functional_call(_Loss(algorithm, model), own, (batch,))
        names[:] = statistics
        return total, tuple(statistics.values())

    def gradient(*inputs: Tensor) -> tuple[Tensor, ...]:
        of_model, of_batch = inputs[: -len(tensors)], inputs[-len(tensors) :]
        leaves, rest = (
            dict(zip(parameters, of_model, strict=False)),
            dict(zip(buffers, of_model[len(parameters) :], strict=True)),
        )
        pieces, statistics = torch.func.grad(loss, has_aux=True)(leaves, rest, _batch(of_batch))
        return torch.cat([piece.reshape(-1) for piece in pieces.values()]), *statistics

    tensors = _tensors(batch)
    inputs = [tensor.detach() for tensor in (*parameters.values(), *buffers.values(), *tensors)]
    graph = make_fx(torch.func.functionalize(gradient))(*inputs).graph
    graph.eliminate_dead_code()
    given = [node for node in graph.nodes if node.op == "placeholder"]
    of_model, of_batch = given[: -len(tensors)], given[-len(tensors) :]
    reads = {
        i: (tensors[i].shape, tensors[i].dtype) for i, node in enumerate(of_batch) if node.users
    }
    values = {
        node: Value(number)
        for number, node in enumerate([*of_model, *(of_batch[i] for i in reads)])
    }
    num_inputs, instructions = len(values), dict[str, Instruction]()
    for node in graph.nodes:
        assert node.op in ("placeholder", "call_function", "output"), (
            f"{node.op} {node.target} is not an operation"
        )
        if node.op == "call_function":
            name = "getitem" if node.target is operator.getitem else str(node.target)
            instruction = Instruction(name, _plain(node.args, values), _plain(node.kwargs, values))
            written = repr(instruction)  # 1 and 1.0 are equal, and not alike
            instructions.setdefault(written, instruction)
            values[node] = Value(num_inputs + [*instructions].index(written))
    (results,) = (node.args[0] for node in graph.nodes if node.op == "output")
    of_loss = {name: values[result] for name, result in zip(names, results[1:], strict=True)}
    return Program(
        reads=reads,
        instructions=tuple(instructions.values()),
        gradient=values[results[0]],
        statistics=of_loss,
        shape=batch.advantages.shape,
    )


class TracedGradient:
    """A program with the parameters that it is for."""

    def __init__(self, program: Program, model: ActorCritic) -> None:
        """The model's parameters and buffers must stay in the memory where they are."""
        own = {i: torch.zeros(shape, dtype=dtype) for i, (shape, dtype) in program.reads.items()}
        of_model = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
        self._program, self._bound = (
            program,
            BoundProgram(program.instructions, [*of_model, *own.values()]),
        )
        self._inputs = {i: tensor.numpy() for i, tensor in own.items()}
        self._gradient = self._bound[program.gradient]
        self._statistics = {
            name: self._bound[value].numpy() for name, value in program.statistics.items()
        }

    def fits(self, batch: Batch) -> bool:
        """Whether the program is for batches like this one."""
        return batch.advantages.shape == self._program.shape and batch.steps.recording is None

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """∂loss/∂parameters [P], valid until the next call, and what the loss is made of."""
        tensors = _tensors(batch)
        for i, array in self._inputs.items():
            np.copyto(array, tensors[i].numpy())
        self._bound.run()
        return self._gradient, {name: float(array) for name, array in self._statistics.items()}


class _Loss(torch.nn.Module):
    def __init__(self, algorithm: Algorithm, model: ActorCritic) -> None:
        super().__init__()
        self.algorithm, self.model = algorithm, model

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return self.algorithm.loss(self.model, batch)


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    return (*batch.steps.tensors(), batch.advantages, batch.returns)


def _plain(value: Any, values: dict[Any, Value]) -> Any:
    """What an operation of a graph is given, without the graph."""
    if isinstance(value, dict):
        return {key: _plain(part, values) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_plain(part, values) for part in value)
    return values.get(value, value)


def _batch(tensors: tuple[Tensor, ...]) -> Batch:
    *steps, advantages, returns = tensors
    return Batch(steps=Segment.from_tensors(steps), advantages=advantages, returns=returns)
