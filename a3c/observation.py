"""What Kronecker factors are made of: what goes into each linear map of a network, and what a loss says of what comes out."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from a3c.kernels import Activation, Call, Scaling
from a3c.recording import Layers


@dataclass
class _Applied:
    """A linear map that was applied to [N, ...], at once or a step after the other."""

    weight: Tensor
    bias: Tensor
    convolution: nn.Conv2d | None
    activation: Activation | None
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)


class Observation:
    """`Layers` as others give them, of which inputs and outputs are kept; one for each time that a network is unrolled."""

    def __init__(self) -> None:
        self._layers: Layers
        self._applied: dict[int, _Applied] = {}

    def through(self, layers: Layers) -> "Observation":
        """This observation, of `layers`."""
        self._layers = layers
        return self

    @property
    def maps(self) -> list[tuple[Tensor, Tensor]]:
        """Weight and bias of each linear map, in the order of their first use."""
        return [(applied.weight, applied.bias) for applied in self._applied.values()]

    def samples(self, loss: Tensor, cases: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each map: inputs a [M, columns], the last one 1, and ∂loss/∂s [M, rows] of its outputs s, at some of the N steps.

        `loss` is a sum over steps. M is the number of `cases` or, for a convolution, as many for each as it has locations; the
        order of a patch's inputs is that of the weights in memory, channels last.
        """
        outputs = [output for applied in self._applied.values() for output in applied.outputs]
        gradients = iter(torch.autograd.grad(loss, outputs, retain_graph=True, materialize_grads=True))
        found = []
        for applied in self._applied.values():
            x, y = (torch.cat(parts).detach()[cases] for parts in (applied.inputs, applied.outputs))
            g = torch.cat([next(gradients) for _ in applied.outputs])[cases]
            if applied.activation is not None:
                g = applied.activation.gradient(g, y)
            if applied.convolution is not None:
                x, g = _patches(x, applied.convolution), g.permute(0, 2, 3, 1).flatten(0, 2)
            found.append((torch.cat((x, x.new_ones(len(x), 1)), 1), g))
        return found

    def linear(self, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        """x Wᵀ + b for x [N, inputs]: a part of a recurrent cell."""
        return self._keep(weight, bias, x, nn.functional.linear(x, weight, bias))

    def input(self, observations: Tensor, scaling: Scaling) -> Tensor:
        """See `Layers`."""
        return self._layers.input(observations, scaling)

    def layer(self, layer: nn.Module, activation: Activation | None, x: Tensor) -> Tensor:
        """See `Layers`."""
        assert isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None
        convolution = layer if isinstance(layer, nn.Conv2d) else None
        y = self._layers.layer(layer, activation, x)
        return self._keep(layer.weight, layer.bias, x, y, convolution=convolution, activation=activation)

    def flatten(self, x: Tensor) -> Tensor:
        """See `Layers`."""
        return self._layers.flatten(x)

    def memory(self, *sizes: int) -> list[Tensor] | None:
        """See `Layers`."""
        return self._layers.memory(*sizes)

    def run(self, call: Call) -> None:
        """See `Layers`."""
        self._layers.run(call)

    def recorded(self, number: int) -> list[Tensor] | None:
        """See `Layers`."""
        return self._layers.recorded(number)

    def _keep(
        self,
        weight: Tensor,
        bias: Tensor,
        x: Tensor,
        y: Tensor,
        *,
        convolution: nn.Conv2d | None = None,
        activation: Activation | None = None,
    ) -> Tensor:
        applied = self._applied.setdefault(id(weight), _Applied(weight, bias, convolution, activation))
        applied.inputs.append(x)
        applied.outputs.append(y)
        return y


def _patches(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """What a convolution multiplies with its weights: [N, C, H, W] -> [N * locations, kernel height * width * C]."""
    (height, width), (down, right) = convolution.kernel_size, convolution.stride
    assert not isinstance(convolution.padding, str)
    above, left = convolution.padding
    x = nn.functional.pad(x, (left, left, above, above)).permute(0, 2, 3, 1)
    windows = x.unfold(1, height, down).unfold(2, width, right)  # [N, H', W', C, kernel height, kernel width]
    return windows.permute(0, 1, 2, 4, 5, 3).flatten(0, 2).flatten(1)
