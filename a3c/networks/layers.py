"""The layers that all networks are made of, and how their parameters are initialised."""

from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}


class Linear(nn.Linear):
    """x Wᵀ + b, multiplied in the type of x and returned as float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs] to [N, outputs]."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return nn.functional.linear(x, weight, bias).float()


class Conv2d(nn.Conv2d):
    """W * x + b, multiplied and returned in the type of x; its sums are float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, D, H', W']."""
        assert self.bias is not None
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return nn.functional.conv2d(x, weight, bias, self.stride, self.padding)


def orthogonal_(layer: nn.Module, gain: float) -> None:
    """Draw orthogonal weights times `gain`, and set the bias to zero. Saxe et al. 2014."""
    nn.init.orthogonal_(layer.weight, gain)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def normalized_rows_(layer: nn.Linear, norm: float) -> None:
    """Draw Gaussian rows, scale each to length `norm`, and set the bias to zero.

    These are the output layers of pytorch-a3c.
    """
    nn.init.normal_(layer.weight)
    layer.weight.data.mul_(norm / layer.weight.data.norm(dim=1, keepdim=True))
    nn.init.zeros_(layer.bias)
