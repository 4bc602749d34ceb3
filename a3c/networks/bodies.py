"""Bodies: networks from an observation to features, each with the layers of a paper."""

import math
from itertools import pairwise

from torch import Tensor, nn

from a3c.networks.layers import ACTIVATIONS, Conv2d, Linear, orthogonal_


class Body(nn.Module):
    """A network from observations [N, ...] to features [N, output_size]."""

    layers: nn.Module  # `fast/` records the layers of an nn.Sequential; it calls any other module
    output_size: int
    sizes: list[int]  # of each depth that an auxiliary head can follow, the features last
    deepest: int  # the largest depth that an auxiliary head may name; -1, the features, always may

    def depths(self, x: Tensor) -> list[Tensor]:
        """Map [N, ...] to the outputs of each depth, [N, size] each; the features are the last."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, ...] to features [N, F]."""
        return self.depths(x)[-1]


class ConvolutionalBody(Body):
    """A body of convolutions; auxiliary heads can follow only its features."""

    deepest = -1

    def __init__(self, layers: nn.Module, output_size: int) -> None:
        super().__init__()
        self.layers, self.output_size, self.sizes = layers, output_size, [output_size]

    def depths(self, x: Tensor) -> list[Tensor]:
        """Map [N, C, H, W] to the features [N, F], the only depth."""
        return [self.layers(x)]


class SmallConv(ConvolutionalBody):
    """Four 3x3 convolutions of 32 channels, stride 2: [N, C, 42, 42] -> [N, 288].

    This is the network of pytorch-a3c. With `hidden_size` a fully connected layer of as many units
    follows, as in DQN: [N, hidden_size].
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        *,
        activation: str,
        hidden_size: int | None = None,
    ) -> None:
        channels = [observation_shape[0], 32, 32, 32, 32]
        convolutions = [Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)]
        height, width = (math.ceil(size / 16) for size in observation_shape[1:])
        output_size = 32 * height * width
        for layer in convolutions:
            if activation == "relu":
                orthogonal_(layer, math.sqrt(2))
                continue
            nn.init.xavier_uniform_(layer.weight)  # as in pytorch-a3c, whose activation is ELU
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        layers: list[nn.Module] = [activated(layer, activation) for layer in convolutions]
        layers.append(nn.Flatten())
        if hidden_size is not None:
            linear = Linear(output_size, hidden_size)
            orthogonal_(linear, math.sqrt(2))
            layers.append(activated(linear, activation))
            output_size = hidden_size
        super().__init__(nn.Sequential(*layers), output_size)


class NatureConv(ConvolutionalBody):
    """32@8x8/4, 64@4x4/2, 64@3x3/1, `hidden_size` units: [N, C, 84, 84] -> [N, hidden_size].

    Mnih et al. 2015, with 512 units. The third convolution has `last_channels` channels; it has 32
    in the paper of ACKTR.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        *,
        activation: str,
        hidden_size: int,
        last_channels: int = 64,
    ) -> None:
        channels, height, width = observation_shape
        convolutions = [
            Conv2d(channels, 32, 8, stride=4),
            Conv2d(32, 64, 4, stride=2),
            Conv2d(64, last_channels, 3),
        ]
        for layer in convolutions:
            (kernel, _), (stride, _) = layer.kernel_size, layer.stride
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        linear = Linear(last_channels * height * width, hidden_size)
        for weighted in (*convolutions, linear):
            orthogonal_(weighted, math.sqrt(2))
        layers = nn.Sequential(
            *(activated(layer, activation) for layer in convolutions),
            nn.Flatten(),
            activated(linear, activation),
        )
        super().__init__(layers, hidden_size)


class ImpalaConv(ConvolutionalBody):
    """Fifteen 3x3 convolutions with residual connections: [N, C, H, W] -> [N, hidden_size].

    There are three blocks of 16, 32 and 32 channels. Each is a convolution, a 3x3 maximum with
    stride 2, and twice x + conv(φ(conv(φ(x)))). Espeholt et al. 2018, figure 3.
    """

    channels = (16, 32, 32)

    def __init__(
        self, observation_shape: tuple[int, ...], *, activation: str, hidden_size: int
    ) -> None:
        depth, height, width = observation_shape
        convolutions = nn.ModuleList()
        for inputs, outputs in pairwise((depth, *self.channels)):
            convolutions.append(Conv2d(inputs, outputs, 3, padding=1))
            convolutions.extend(Conv2d(outputs, outputs, 3, padding=1) for _ in range(4))
            height, width = (height + 1) // 2, (width + 1) // 2
        linear = Linear(self.channels[-1] * height * width, hidden_size)
        for layer in (*convolutions, linear):
            orthogonal_(layer, math.sqrt(2))
        super().__init__(
            _ResidualBlocks(convolutions, linear, ACTIVATIONS[activation]()), hidden_size
        )


class _ResidualBlocks(nn.Module):
    """The layers of `ImpalaConv`.

    Convolutions multiply in the type of x. The sums and maxima between them are float32.
    """

    def __init__(
        self, convolutions: nn.ModuleList, linear: nn.Linear, activation: nn.Module
    ) -> None:
        super().__init__()
        self.convolutions, self.linear, self.activation = convolutions, linear, activation

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, F]."""
        precision, layers, function = x.dtype, iter(self.convolutions), self.activation

        def convolution(x: Tensor) -> Tensor:
            y: Tensor = next(layers)(x.to(precision))
            return y.float()

        for _ in ImpalaConv.channels:
            x = nn.functional.max_pool2d(convolution(x), 3, stride=2, padding=1)
            for _ in range(2):
                x = x + convolution(function(convolution(function(x))))
        features: Tensor = function(self.linear(function(x.flatten(1))))
        return features


class MLP(Body):
    """`num_layers` fully connected layers of `hidden_size`: [N, D] -> [N, hidden_size]."""

    layers: nn.Sequential

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        *,
        activation: str,
        num_layers: int,
        hidden_size: int,
    ) -> None:
        super().__init__()
        (size,) = observation_shape
        self.sizes, self.deepest = [size] + num_layers * [hidden_size], num_layers
        self.output_size = self.sizes[-1]
        linear = [Linear(a, b) for a, b in pairwise(self.sizes)]
        for layer in linear:
            orthogonal_(layer, math.sqrt(2))
        self.layers = nn.Sequential(*(activated(layer, activation) for layer in linear))

    def depths(self, x: Tensor) -> list[Tensor]:
        """Map [N, D] to the input and the outputs of each layer, [N, hidden_size] each."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return outputs


def activated(layer: nn.Module, activation: str) -> nn.Sequential:
    """Return φ(layer(x)), with the activation of that name as φ."""
    return nn.Sequential(layer, ACTIVATIONS[activation]())
