"""Bodies: from an observation to features. Each names its layers as the paper it comes from does."""

import math
from itertools import pairwise

from torch import Tensor, nn

from a3c.kernels import ACTIVATIONS, convolve
from a3c.recording import Layers


class SmallConv(nn.Module):
    """Four 3x3 convolutions of 32 channels with stride 2: [N, C, 42, 42] -> [N, 288]. The net of pytorch-a3c.

    With a `hidden_size` a layer of so many units follows, as in DQN's: [N, hidden_size].
    """

    def __init__(
        self, observation_shape: tuple[int, ...], *, activation: str, hidden_size: int | None = None
    ) -> None:
        super().__init__()
        channels = [observation_shape[0], 32, 32, 32, 32]
        layers = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels)]
        self.convolutions = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[activation]
        height, width = (math.ceil(size / 16) for size in observation_shape[1:])
        self.output_size = 32 * height * width
        for layer in layers:
            if activation == "relu":
                orthogonal_(layer, math.sqrt(2))
                continue
            nn.init.xavier_uniform_(layer.weight)  # as pytorch-a3c, whose activation is ELU
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        self.linear: nn.Linear | None = None
        if hidden_size is not None:
            self.linear = nn.Linear(self.output_size, hidden_size)
            self.output_size = hidden_size
            orthogonal_(self.linear, math.sqrt(2))

    def forward(self, x: Tensor, layers: Layers) -> Tensor:
        """[N, C, H, W] -> [N, F]."""
        for layer in self.convolutions:
            x = layers.layer(layer, self.activation, x)
        x = layers.flatten(x)
        return x.float() if self.linear is None else layers.layer(self.linear, self.activation, x)


class NatureConv(nn.Module):
    """32@8x8/4, 64@4x4/2, 64@3x3/1, `hidden_size` units: [N, C, 84, 84] -> [N, hidden_size]. Mnih et al. 2015, with 512.

    The third has `last_channels`: ACKTR's paper has 32.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        *,
        activation: str,
        hidden_size: int,
        last_channels: int = 64,
    ) -> None:
        super().__init__()
        channels, height, width = observation_shape
        layers = [
            nn.Conv2d(channels, 32, 8, stride=4),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.Conv2d(64, last_channels, 3),
        ]
        self.convolutions = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[activation]
        for layer in layers:
            (kernel, _), (stride, _) = layer.kernel_size, layer.stride
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        self.output_size = hidden_size
        self.linear = nn.Linear(last_channels * height * width, self.output_size)
        for weighted in (*layers, self.linear):
            orthogonal_(weighted, math.sqrt(2))

    def forward(self, x: Tensor, layers: Layers) -> Tensor:
        """[N, C, H, W] -> [N, F]."""
        for layer in self.convolutions:
            x = layers.layer(layer, self.activation, x)
        return layers.layer(self.linear, self.activation, layers.flatten(x))


class ImpalaConv(nn.Module):
    """Fifteen 3x3 convolutions with residual connections: [N, C, H, W] -> [N, hidden_size]. Espeholt et al. 2018, figure 3.

    Three blocks of 16, 32 and 32 channels, each a convolution, 3x3 maxima with stride 2, and twice x + conv(φ(conv(φ(x)))).
    """

    channels = (16, 32, 32)

    def __init__(
        self, observation_shape: tuple[int, ...], *, activation: str, hidden_size: int
    ) -> None:
        super().__init__()
        depth, height, width = observation_shape
        self.activation = ACTIVATIONS[activation]
        self.convolutions = nn.ModuleList()
        for inputs, outputs in pairwise((depth, *self.channels)):
            self.convolutions.append(nn.Conv2d(inputs, outputs, 3, padding=1))
            self.convolutions.extend(nn.Conv2d(outputs, outputs, 3, padding=1) for _ in range(4))
            height, width = (height + 1) // 2, (width + 1) // 2
        self.linear = nn.Linear(self.channels[-1] * height * width, hidden_size)
        self.output_size = hidden_size
        for layer in (*self.convolutions, self.linear):
            orthogonal_(layer, math.sqrt(2))

    def forward(self, x: Tensor, layers: Layers) -> Tensor:
        """[N, C, H, W] -> [N, F]."""
        memory = layers.memory(self.output_size)
        if memory is None:
            layers.recorded(
                1
            )  # left aside: the layers between were not recorded, so the backward pass needs them computed
            return self._features(x)
        (features,) = memory
        layers.run(lambda: features.copy_(self._features(x)))
        return features

    def _features(self, x: Tensor) -> Tensor:
        function, layers, precision = self.activation.function, iter(self.convolutions), x.dtype

        def convolution(x: Tensor) -> Tensor:
            layer = next(layers)
            assert isinstance(layer, nn.Conv2d)
            return convolve(x.to(precision), layer).float()

        for _ in self.channels:
            x = nn.functional.max_pool2d(convolution(x), 3, stride=2, padding=1)
            for _ in range(2):
                x = x + convolution(function(convolution(function(x))))
        return function(self.linear(function(x.flatten(1))))


class MLP(nn.Module):
    """`num_layers` fully connected layers of `hidden_size`: [N, D] -> [N, hidden_size]."""

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
        self.sizes = [size] + num_layers * [hidden_size]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(self.sizes))
        self.activation = ACTIVATIONS[activation]
        self.output_size = self.sizes[-1]
        for layer in self.layers:
            orthogonal_(layer, math.sqrt(2))

    def forward(self, x: Tensor, layers: Layers) -> Tensor:
        """[N, D] -> [N, F]."""
        return self.depths(x, layers)[-1]

    def depths(self, x: Tensor, layers: Layers) -> list[Tensor]:
        """What comes in [N, D], and what each layer makes of it."""
        outputs = [x]
        for layer in self.layers:
            outputs.append(layers.layer(layer, self.activation, outputs[-1]))
        return outputs


def orthogonal_(layer: nn.Module, gain: float) -> None:
    """Orthogonal weights times `gain`, zero bias. Saxe et al. 2014."""
    nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def normalized_rows_(layer: nn.Linear, norm: float) -> None:
    """Gaussian rows scaled to length `norm`, zero bias: the heads of pytorch-a3c."""
    nn.init.normal_(layer.weight)
    layer.weight.data.mul_(norm / layer.weight.data.norm(dim=1, keepdim=True))
    nn.init.zeros_(layer.bias)
