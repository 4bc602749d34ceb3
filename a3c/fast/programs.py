"""A sequence of tensor operations, bound to fixed memory once and then repeated.

At a few dozen rows the arithmetic of an operation takes a microsecond, and the code that leads to
it several. Here everything except the arithmetic is done beforehand: views are taken, constants
are computed, and results get memory. Most calls are NumPy's, which have the least overhead.
"""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a3c.fast.kernels import Call

Array = NDArray[Any]
MANY_MULTIPLICATIONS = 1 << 20  # beyond which PyTorch's matrix product is faster than NumPy's


@dataclass(frozen=True)
class Value:
    """An argument that is an input or the result of an earlier instruction.

    Inputs are numbered first, then the results in their order.
    """

    number: int


@dataclass(frozen=True)
class Instruction:
    """An operation of PyTorch such as "aten.add.Tensor", without side effects or randomness."""

    name: str
    arguments: tuple[Any, ...]  # numbers, types, `Value`s and tuples of them
    options: dict[str, Any]


class BoundProgram:
    """Instructions bound to given inputs; `run` recomputes all results from the inputs' memory."""

    def __init__(self, instructions: Sequence[Instruction], inputs: Sequence[Tensor]) -> None:
        """Compute everything once, and keep the memory of each result.

        The inputs must not require gradients.
        """
        self._values: list[Any] = [*inputs]
        self._fixed = [False] * len(inputs)  # whether a value depends on no input
        self._calls: list[Call] = []
        for instruction in instructions:
            self._add(instruction)

    def __len__(self) -> int:
        """Return the number of calls that `run` makes."""
        return len(self._calls)

    def __getitem__(self, value: Value) -> Tensor:
        """Return the memory of a result."""
        tensor: Tensor = self._values[value.number]
        return tensor

    def run(self) -> None:
        """Make all calls, in order."""
        with np.errstate(all="ignore"):  # as PyTorch does
            for call in self._calls:
                call()

    def _add(self, instruction: Instruction) -> None:
        name, options = instruction.name, instruction.options
        operation = _operation(name)
        arguments = [self._resolved(argument) for argument in instruction.arguments]
        result = operation(*arguments, **options)
        fixed = name in _BLANKS or all(
            self._fixed[value.number] for value in _values_in(instruction.arguments)
        )
        self._values.append(result)
        self._fixed.append(fixed)
        if fixed or _gives_views(operation):
            return
        assert isinstance(result, Tensor), f"{name} has several results"
        self._calls += _bound(name, operation, arguments, options, result)

    def _resolved(self, argument: Any) -> Any:
        if isinstance(argument, Value):
            return self._values[argument.number]
        return (
            [self._resolved(part) for part in argument] if isinstance(argument, tuple) else argument
        )


# Operations whose result does not depend on the values of their arguments.
_BLANKS = {
    f"aten.{name}.default"
    for name in ("ones_like", "zeros_like", "empty_like", "new_zeros", "new_ones")
}


def _values_in(argument: Any) -> list[Value]:
    if isinstance(argument, Value):
        return [argument]
    return (
        [value for part in argument for value in _values_in(part)]
        if isinstance(argument, tuple)
        else []
    )


def _operation(name: str) -> Callable[..., Any]:
    if name == "getitem":
        return operator.getitem
    found: Callable[..., Any] = operator.attrgetter(name)(torch.ops)
    return found


def _gives_views(operation: Any) -> bool:
    return operation is operator.getitem or any(
        result.alias_info is not None for result in operation._schema.returns
    )


def _bound(
    name: str,
    operation: Callable[..., Any],
    arguments: list[Any],
    options: dict[str, Any],
    out: Tensor,
) -> list[Call]:
    if (
        name in _PRODUCTS
        and not options
        and math.prod((*out.shape, arguments[-1].shape[0])) > MANY_MULTIPLICATIONS
    ):
        return [partial(_PRODUCTS[name], *arguments, out=out)]
    if not options or name == "aten._to_copy.default":
        arrays, array = [_array(argument) for argument in arguments], out.numpy()
        ufunc = UFUNCS.get(name.split(".")[1])
        if ufunc is not None and len(arrays) == ufunc.nin:
            return [partial(ufunc, *arrays, out=array)]
        if name in CALLS and (calls := CALLS[name](array, *arrays)):
            return calls
    return [lambda: out.copy_(operation(*arguments, **options))]


def _array(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.numpy()
    return [_array(part) for part in argument] if isinstance(argument, list) else argument


_PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "aten.mm.default": torch.mm,
    "aten.addmm.default": torch.addmm,
}
# Operations that are one ufunc of NumPy, whatever their overload.
UFUNCS: dict[str, np.ufunc] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "exp": np.exp,
    "tanh": np.tanh,
    "abs": np.absolute,
    "sgn": np.sign,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "clamp_min": np.maximum,
    "logical_and": np.logical_and,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _convert(out: Array, x: Array) -> list[Call]:
    return [partial(np.copyto, out, x, "unsafe")]


def _copy(out: Array, _: Array, source: Array) -> list[Call]:
    return _convert(out, source)


def _power(out: Array, x: Array, exponent: float) -> list[Call]:
    if exponent == 2:
        return [partial(np.square, x, out=out)]
    return _convert(out, x) if exponent == 1 else []


def _clamp(
    out: Array, x: Array, lowest: float | None = None, highest: float | None = None
) -> list[Call]:
    if lowest is None or highest is None:
        return []
    return [partial(np.maximum, x, lowest, out=out), partial(np.minimum, out, highest, out=out)]


def _relu(out: Array, x: Array) -> list[Call]:
    return [partial(np.maximum, x, 0.0, out=out)]


def _sum(out: Array, x: Array, axes: list[int] | None = None, keepdims: bool = False) -> list[Call]:
    return [partial(np.add.reduce, x, tuple(axes) if axes else None, None, out, keepdims)]


def _mean(out: Array, x: Array) -> list[Call]:
    return [*_sum(out, x), partial(np.multiply, out, 1 / x.size, out=out)]


def _product(out: Array, a: Array, b: Array) -> list[Call]:
    return [partial(np.dot, a, b, out)] if out.flags.c_contiguous else []


def _biased_product(out: Array, bias: Array, a: Array, b: Array) -> list[Call]:
    product = _product(out, a, b)
    return product and [*product, partial(np.add, out, bias, out=out)]


def _tanh_backward(out: Array, gradient: Array, y: Array) -> list[Call]:
    return [
        partial(np.multiply, y, y, out=out),
        partial(np.subtract, 1.0, out, out=out),
        partial(np.multiply, gradient, out, out=out),
    ]


def _threshold_backward(out: Array, gradient: Array, y: Array, threshold: float) -> list[Call]:
    return [
        partial(np.greater, y, threshold, out=out),
        partial(np.multiply, gradient, out, out=out),
    ]


def _where(out: Array, condition: Array, a: Array, b: Array) -> list[Call]:
    return [partial(np.copyto, out, b), partial(np.copyto, out, a, where=condition)]


def _masked_fill(out: Array, x: Array, mask: Array, value: float) -> list[Call]:
    return _where(out, mask, np.asarray(value, out.dtype), x)


def _concatenate(out: Array, parts: list[Array], axis: int = 0) -> list[Call]:
    return [partial(np.concatenate, parts, axis, out)]


def _stack(out: Array, parts: list[Array]) -> list[Call]:
    return _concatenate(out, [part[None] for part in parts])


# (result, *arguments) -> calls of NumPy that compute it; none where these arguments have none.
CALLS: dict[str, Callable[..., list[Call]]] = {
    "aten._to_copy.default": _convert,
    "aten.copy.default": _copy,
    "aten.pow.Tensor_Scalar": _power,
    "aten.clamp.default": _clamp,
    "aten.relu.default": _relu,
    "aten.sum.default": _sum,
    "aten.sum.dim_IntList": _sum,
    "aten.mean.default": _mean,
    "aten.mm.default": _product,
    "aten.addmm.default": _biased_product,
    "aten.tanh_backward.default": _tanh_backward,
    "aten.threshold_backward.default": _threshold_backward,
    "aten.where.self": _where,
    "aten.masked_fill.Scalar": _masked_fill,
    "aten.cat.default": _concatenate,
    "aten.stack.default": _stack,
}
