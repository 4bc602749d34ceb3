"""The gradient of a loss, traced once: the same operations without the cost of Python and autograd.

The arithmetic of a minibatch of 64 steps in a small network takes a fraction of the time that
Python and autograd take to schedule it. Tracing takes a second and 70 MB, for torch's symbolic
shapes, so one process traces and gives the program to the others.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from a3c.fast.programs import BoundProgram, Instruction, Value

# (module, tensors) -> loss, and its statistics by name; all are scalars
Loss = Callable[[Any, tuple[Tensor, ...]], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True, kw_only=True)
class Program:
    """A traced gradient, which can be sent to another process.

    Its inputs are the module's parameters and buffers, and those of the given tensors that it
    reads.
    """

    reads: dict[int, tuple[torch.Size, torch.dtype]]  # those of them that it reads, by number
    instructions: tuple[Instruction, ...]
    gradient: Value  # [P]
    statistics: dict[str, Value]  # those of the loss


def trace(loss: Loss, module: nn.Module, tensors: Sequence[Tensor]) -> Program:
    """Trace the gradient of `loss` by the module's parameters, for tensors of these shapes.

    The loss must not inspect values of tensors in Python, create tensors or draw random numbers.
    The module must have no convolutions: a flat parameter vector holds their weights in another
    order.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    assert all(parameter.dim() < 4 for parameter in parameters.values())
    whole, names = _Loss(loss, module), list[str]()

    def total(
        leaves: dict[str, Tensor], rest: dict[str, Tensor], given: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        own = {f"module.{name}": tensor for name, tensor in {**leaves, **rest}.items()}
        result, statistics = torch.func.functional_call(whole, own, (given,))
        names[:] = statistics
        return result, tuple(statistics.values())

    def gradient(*inputs: Tensor) -> tuple[Tensor, ...]:
        of_module, given = inputs[: -len(tensors)], inputs[-len(tensors) :]
        leaves = dict(zip(parameters, of_module, strict=False))
        rest = dict(zip(buffers, of_module[len(parameters) :], strict=True))
        pieces, statistics = torch.func.grad(total, has_aux=True)(leaves, rest, given)
        return torch.cat([piece.reshape(-1) for piece in pieces.values()]), *statistics

    inputs = [tensor.detach() for tensor in (*parameters.values(), *buffers.values(), *tensors)]
    graph = make_fx(torch.func.functionalize(gradient))(*inputs).graph
    graph.eliminate_dead_code()
    return _program(graph, names, tensors)


def _program(graph: Any, names: list[str], tensors: Sequence[Tensor]) -> Program:
    """Return a graph as a list of instructions, without duplicates."""
    given = [node for node in graph.nodes if node.op == "placeholder"]
    of_module, rest = given[: -len(tensors)], given[-len(tensors) :]
    reads = {i: (tensors[i].shape, tensors[i].dtype) for i, node in enumerate(rest) if node.users}
    inputs = [*of_module, *(rest[i] for i in reads)]
    values = {node: Value(number) for number, node in enumerate(inputs)}
    num_inputs, instructions = len(values), dict[str, Instruction]()
    for node in graph.nodes:
        assert node.op in ("placeholder", "call_function", "output"), f"{node.target}: {node.op}"
        if node.op == "call_function":
            name = "getitem" if node.target is operator.getitem else str(node.target)
            arguments, options = _plain(node.args, values), _plain(node.kwargs, values)
            instruction = Instruction(name, arguments, options)
            written = repr(instruction)  # tells 1 from 1.0, which == does not
            instructions.setdefault(written, instruction)
            values[node] = Value(num_inputs + [*instructions].index(written))
    (results,) = (node.args[0] for node in graph.nodes if node.op == "output")
    return Program(
        reads=reads,
        instructions=tuple(instructions.values()),
        gradient=values[results[0]],
        statistics={name: values[node] for name, node in zip(names, results[1:], strict=True)},
    )


class BoundGradient:
    """A program bound to the parameters of a module."""

    def __init__(self, program: Program, module: nn.Module) -> None:
        """Bind the program; the module's tensors must stay where they are in memory."""
        own = {i: torch.zeros(shape, dtype=dtype) for i, (shape, dtype) in program.reads.items()}
        of_module = [tensor.detach() for tensor in (*module.parameters(), *module.buffers())]
        self._bound = BoundProgram(program.instructions, [*of_module, *own.values()])
        self._shapes = [(i, shape) for i, (shape, _) in program.reads.items()]
        self._inputs = {i: tensor.numpy() for i, tensor in own.items()}
        self._gradient = self._bound[program.gradient]
        self._statistics = {
            name: self._bound[value].numpy() for name, value in program.statistics.items()
        }

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Return whether the tensors that are read have the shapes that were traced."""
        return all(tensors[i].shape == shape for i, shape in self._shapes)

    def __call__(self, tensors: Sequence[Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return ∂loss/∂parameters [P], valid until the next call, and the loss's statistics."""
        for i, array in self._inputs.items():
            np.copyto(array, tensors[i].numpy())
        self._bound.run()
        return self._gradient, {name: float(array) for name, array in self._statistics.items()}


class _Loss(nn.Module):
    def __init__(self, loss: Loss, module: nn.Module) -> None:
        super().__init__()
        self.loss, self.module = loss, module

    def forward(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        return self.loss(self.module, tensors)


def _plain(value: Any, values: dict[Any, Value]) -> Any:
    """Return an argument of a graph's operation, with graph nodes replaced by `Value`s."""
    if isinstance(value, dict):
        return {key: _plain(part, values) for key, part in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_plain(part, values) for part in value)
    return values.get(value, value)
