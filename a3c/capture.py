"""Samples for Kronecker factors: inputs and output gradients of each linear map of a network."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_LINEAR, _CONVOLUTION = nn.functional.linear, nn.functional.conv2d


@dataclass(frozen=True)
class _Window:
    """The kernel, stride and padding of a convolution."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass
class _Applied:
    """What a linear map was applied to, and what it gave: a tensor [N, ...] per call."""

    weight: Tensor
    bias: Tensor
    window: _Window | None  # None: not a convolution
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Capture(TorchFunctionMode):
    """Keep the inputs and outputs of all linear maps that are applied inside a `with` block.

    It intercepts `linear` and `conv2d` of torch.nn.functional, which `nn.Linear` and `nn.Conv2d`
    call, so it works with any network. Each map must have a bias; a convolution must have neither
    groups nor dilation. Gradients reach the outputs of the maps, not their parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self._applied: dict[Tensor, _Applied] = {}

    @property
    def maps(self) -> list[tuple[Tensor, Tensor, int]]:
        """Weight, bias and number of locations of each map, in the order of first use.

        A convolution has as many locations as its output has pixels. Any other map has one.
        """
        return [
            (applied.weight, applied.bias, applied.outputs[0].shape[2:].numel())
            for applied in self._applied.values()
        ]

    def samples(self, loss: Tensor, *, locations: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Return inputs a [M, columns] and ∂loss/∂s [M, rows] of the outputs s = W a, of each map.

        The last column of a is 1, for the bias. `loss` is a sum over N steps. M is N; for a
        convolution it is N times its number of locations, or N times `locations` drawn at random.
        The inputs of a patch are in the order of the weights in memory, channels last.
        """
        outputs = [output for applied in self._applied.values() for output in applied.outputs]
        gradients = iter(torch.autograd.grad(loss, outputs, materialize_grads=True))
        found = []
        for applied in self._applied.values():
            x = _together(applied.inputs).detach()
            g = _together([next(gradients) for _ in applied.outputs])
            if applied.window is not None:
                x, g = _at_locations(x, g, applied.window, locations)
            found.append((nn.functional.pad(x, (0, 1), value=1.0), g))
        return found

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`; keep its input and output if it is a linear map."""
        if func not in (_LINEAR, _CONVOLUTION):
            return func(*args, **(kwargs or {}))
        x, weight, bias, *rest = args
        if func is _CONVOLUTION and rest[2:] not in ([], [(1, 1)], [(1, 1), 1]):
            raise ValueError("Capture knows no convolutions with dilation or groups")
        y = func(x, weight.detach(), bias.detach(), *rest, **(kwargs or {}))
        if not y.requires_grad:
            y.requires_grad_()
        window = _Window(tuple(weight.shape[2:]), *rest[:2]) if func is _CONVOLUTION else None
        applied = self._applied.setdefault(weight, _Applied(weight, bias, window))
        applied.inputs.append(x)
        applied.outputs.append(y)
        return y


def _together(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _at_locations(
    x: Tensor, g: Tensor, window: _Window, number: int | None
) -> tuple[Tensor, Tensor]:
    """Return patches of x [N, C, H, W], and g [N, rows, H', W'] at the same locations.

    Shapes: [N * locations, kernel height * width * C] and [N * locations, rows].
    """
    (height, width), (down, right) = window.kernel_size, window.stride
    above, left = window.padding
    N, _, rows, columns = g.shape
    x = nn.functional.pad(x, (left, left, above, above)).permute(0, 2, 3, 1)
    windows = x.unfold(1, height, down).unfold(2, width, right)  # [N, H', W', C, height, width]
    case = torch.arange(N).unsqueeze(1)
    place = torch.arange(rows * columns).expand(N, -1)
    if number is not None and number < rows * columns:
        place = torch.randint(rows * columns, (N, number))
    y, x_ = place // columns, place % columns
    patches = windows[case, y, x_].permute(0, 1, 3, 4, 2)
    gradients = g.permute(0, 2, 3, 1)[case, y, x_]
    return patches.flatten(0, 1).flatten(1), gradients.flatten(0, 1)
