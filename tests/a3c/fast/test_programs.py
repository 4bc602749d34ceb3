"""Every call that stands in for an operation of PyTorch, beside that operation."""

from functools import reduce

import pytest
import torch
from torch import Tensor

from a3c.fast.programs import CALLS, UFUNCS, BoundProgram, Instruction, Value

x, y, rows, square, mask = Value(0), Value(1), Value(2), Value(3), Value(4)


def inputs() -> list[Tensor]:
    return [
        torch.randn(4, 3),
        torch.randn(4, 3),
        torch.randn(3),
        torch.randn(3, 3),
        torch.rand(4, 3) < 0.5,
    ]


def resolved(argument, values: list[Tensor]):
    if isinstance(argument, Value):
        return values[argument.number]
    return (
        [resolved(part, values) for part in argument] if isinstance(argument, tuple) else argument
    )


ONE = ("neg", "exp", "tanh", "abs", "sgn", "relu", "_to_copy", "elu", "softplus")
TWO = ("mul.Tensor", "div.Tensor", "minimum", "maximum", "copy", "add.Tensor", "sub.Tensor")
COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
CASES = [
    *((f"{name}.default", (x,), {}) for name in ONE),
    *((name if "." in name else f"{name}.default", (x, y), {}) for name in TWO),
    *((f"{name}.Tensor", (x, y), {}) for name in COMPARED),
    *((f"{name}.Scalar", (x, 0.3), {}) for name in COMPARED),
    ("_to_copy.default", (mask,), {"dtype": torch.float32}),
    ("add.Tensor", (x, rows), {"alpha": 2.0}),
    ("mul.Scalar", (x, 2.5), {}),
    ("div.Scalar", (x, 7), {}),
    ("clamp_min.default", (x, 0.1), {}),
    ("clamp.default", (x, -0.5, 0.5), {}),
    ("clamp.default", (x, None, 0.5), {}),
    ("logical_and.default", (mask, mask), {}),
    *(("pow.Tensor_Scalar", (x, exponent), {}) for exponent in (1, 2, 2.0, 3)),
    ("sum.default", (x,), {}),
    ("sum.dim_IntList", (x, (0,)), {}),
    ("sum.dim_IntList", (x, (-1,), True), {}),
    ("mean.default", (x,), {}),
    ("mm.default", (x, square), {}),
    ("addmm.default", (rows, x, square), {}),
    ("tanh_backward.default", (x, y), {}),
    ("threshold_backward.default", (x, y, 0.2), {}),
    ("where.self", (mask, x, y), {}),
    ("masked_fill.Scalar", (x, mask, 5.0), {}),
    ("cat.default", ((x, y),), {}),
    ("cat.default", ((x, y), 1), {}),
    ("stack.default", ((x, y),), {}),
]


@pytest.mark.parametrize(("name", "arguments", "options"), CASES)
def test_a_call_gives_what_the_operation_gives_of_whatever_the_inputs_hold_then(
    name, arguments, options
):
    torch.manual_seed(0)
    given = inputs()
    program = BoundProgram([Instruction(f"aten.{name}", arguments, options)], given)
    operation = reduce(getattr, name.split("."), torch.ops.aten)
    for _ in range(2):
        for tensor, other in zip(given, inputs(), strict=True):
            tensor.copy_(other)
        program.run()
        expected = operation(*[resolved(argument, given) for argument in arguments], **options)
        torch.testing.assert_close(program[Value(len(given))], expected)


def test_no_call_is_left_untested():
    tested = {f"aten.{name}" for name, _, _ in CASES}
    assert {*CALLS} <= tested
    assert {f"aten.{name}" for name in UFUNCS} <= {name.rsplit(".", 1)[0] for name in tested}


def test_views_and_what_depends_on_no_input_are_no_calls():
    given = inputs()
    instructions = [
        Instruction("aten.t.default", (x,), {}),
        Instruction("aten.ones_like.default", (x,), {}),
        Instruction("aten.mul.Scalar", (Value(6), 3.0), {}),
        Instruction("aten.split.Tensor", (Value(5), 2), {}),
        Instruction("getitem", (Value(8), 1), {}),
        Instruction("aten.mul.Tensor", (Value(9), 2.0), {}),
    ]
    program = BoundProgram(instructions, given)
    assert len(program) == 1
    given[0].fill_(4.0)
    program.run()
    assert program[Value(7)].unique().tolist() == [3.0]
    torch.testing.assert_close(program[Value(10)], torch.full((1, 4), 8.0))


@pytest.mark.parametrize("size", [8, 1200])
def test_products_small_and_large_also_of_transposed_matrices(size):
    given = [torch.randn(30, size), torch.randn(40, size), torch.randn(40)]
    instructions = [
        Instruction("aten.t.default", (Value(1),), {}),
        Instruction("aten.mm.default", (Value(0), Value(3)), {}),
        Instruction("aten.addmm.default", (Value(2), Value(0), Value(3)), {}),
    ]
    program = BoundProgram(instructions, given)
    for tensor in given:
        tensor.normal_()
    program.run()
    torch.testing.assert_close(program[Value(4)], given[0] @ given[1].t(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        program[Value(5)], given[0] @ given[1].t() + given[2], rtol=1e-4, atol=1e-4
    )
