"""What Kronecker factors are made of: what goes into each linear map of a network, and what a loss says of what comes out."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from a3c.kernels import Activation
from a3c.recording import Computing


@dataclass
class _Applied:
    """A linear map that was applied to [N, ...], at once or a step after the other."""

    weight: Tensor
    bias: Tensor
    convolution: nn.Conv2d | None
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Capture(Computing):
    """Layers as usual, with all inputs and outputs of linear maps kept; one for each time that a network is unrolled.

    Gradients reach the outputs, not the parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self._applied: dict[Tensor, _Applied] = {}

    @property
    def maps(self) -> list[tuple[Tensor, Tensor, int]]:
        """Weight and bias of each linear map, and at how many locations a step has it, in the order of their first use."""
        return [
            (applied.weight, applied.bias, applied.outputs[0].shape[2:].numel())
            for applied in self._applied.values()
        ]

    def samples(self, loss: Tensor, *, locations: int | None = None) -> list[tuple[Tensor, Tensor]]:
        """Of each map: inputs a [M, columns], the last one 1, and ∂loss/∂s [M, rows] of its outputs s.

        `loss` is a sum over N steps. M is N or, for a convolution, as many for each step as it has locations, or `locations`
        drawn at random; the order of a patch's inputs is that of the weights in memory, channels last.
        """
        outputs = [output for applied in self._applied.values() for output in applied.outputs]
        gradients = iter(torch.autograd.grad(loss, outputs, materialize_grads=True))
        found = []
        for applied in self._applied.values():
            x, g = (
                _together(applied.inputs).detach(),
                _together([next(gradients) for _ in applied.outputs]),
            )
            if applied.convolution is not None:
                x, g = _at_locations(x, g, applied.convolution, locations)
            found.append((nn.functional.pad(x, (0, 1), value=1.0), g))
        return found

    def linear(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """x Wᵀ + b for x [N, inputs]; a recurrent cell is made of two such maps."""
        return self._keep(weight, bias, x, nn.functional.linear(x, weight.detach(), bias.detach()))

    def layer(self, layer: nn.Module, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        assert isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None
        if isinstance(layer, nn.Linear):
            y = self.linear(layer.weight, layer.bias, x)
        else:
            weight, bias = layer.weight.detach(), layer.bias.detach()
            y = nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding)
            y = self._keep(layer.weight, layer.bias, x, y, layer)
        return y if activation is None else activation.function(y)

    def _keep(
        self,
        weight: Tensor,
        bias: Tensor,
        x: Tensor,
        y: Tensor,
        convolution: nn.Conv2d | None = None,
    ) -> Tensor:
        if not y.requires_grad:
            y.requires_grad_()
        applied = self._applied.setdefault(weight, _Applied(weight, bias, convolution))
        applied.inputs.append(x)
        applied.outputs.append(y)
        return y


def _together(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _at_locations(
    x: Tensor, g: Tensor, convolution: nn.Conv2d, number: int | None
) -> tuple[Tensor, Tensor]:
    """Patches [N * locations, kernel height * width * C] of x [N, C, H, W], and g [N, rows, H', W'] at these places."""
    assert not isinstance(convolution.padding, str)
    (height, width), (down, right), (above, left) = (
        convolution.kernel_size,
        convolution.stride,
        convolution.padding,
    )
    N, _, rows, columns = g.shape
    x = nn.functional.pad(x, (left, left, above, above)).permute(0, 2, 3, 1)
    windows = x.unfold(1, height, down).unfold(
        2, width, right
    )  # [N, H', W', C, kernel height, kernel width]
    case = torch.arange(N).unsqueeze(1)
    place = torch.arange(rows * columns).expand(N, -1)
    if number is not None and number < rows * columns:
        place = torch.randint(rows * columns, (N, number))
    y, x_ = place // columns, place % columns
    patches = windows[case, y, x_].permute(0, 1, 3, 4, 2)
    return patches.flatten(0, 1).flatten(1), g.permute(0, 2, 3, 1)[case, y, x_].flatten(0, 1)
