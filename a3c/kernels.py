"""Layers without gradients, into given memory, as calls that can be made again and again: what acting consists of.

At a batch of one a step is a few dozen small calls between two steps of an emulator, which has emptied the caches; what such a
call costs is the code that it runs through. So arguments are bound beforehand and the leanest library is chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Call = Callable[[], object]
_aten = torch.ops.aten


@dataclass(frozen=True)
class Scaling:
    """x -> (x - mean) / std, no further than `clip` from zero."""

    mean: Tensor  # [1] or [D]
    inverse_std: Tensor  # [1] or [D]
    clip: float | None


@dataclass(frozen=True)
class Activation:
    """A nonlinearity y = φ(x) whose derivative can be told from y."""

    function: Callable[[Tensor], Tensor]
    into: Callable[[Tensor, Tensor], Tensor]  # (x, out) -> out; both may be the same memory
    gradient: Callable[[Tensor, Tensor], Tensor]  # (∂/∂y, y) -> ∂/∂x


ACTIVATIONS = {
    "relu": Activation(
        torch.relu,
        lambda x, out: torch.clamp_min(x, 0.0, out=out),
        lambda g, y: _aten.threshold_backward(g, y, 0.0),
    ),
    "tanh": Activation(
        torch.tanh, lambda x, out: torch.tanh(x, out=out), lambda g, y: _aten.tanh_backward(g, y)
    ),
    "elu": Activation(
        nn.functional.elu,
        lambda x, out: _aten.elu.out(x, out=out),
        lambda g, y: _aten.elu_backward(g, 1.0, 1.0, 1.0, True, y),
    ),
}


def empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory [N, ...], images channels_last."""
    # A single channel left as it is would pass for contiguous, and the first layer's output would then lie the other way round
    # than its gradient, which costs more than the layer itself.
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, memory_format=layout)


def scale_(x: Tensor, scaling: Scaling) -> Tensor:
    """x [N, ...], scaled in its place."""
    # One mean for all pixels is a scalar, which keeps its own precision and leaves x its.
    x.sub_(scaling.mean.squeeze()).mul_(scaling.inverse_std.squeeze())
    return x if scaling.clip is None else x.clamp_(-scaling.clip, scaling.clip)


def scale_into(observations: Tensor, scaling: Scaling, out: Tensor) -> Call:
    """out = the observations [N, ...], scaled."""
    if out.dtype != torch.float32:
        return lambda: scale_(out.copy_(observations), scaling)
    x, mean, inverse_std, clip = (
        out.numpy(),
        scaling.mean.numpy(),
        scaling.inverse_std.numpy(),
        scaling.clip,
    )

    def call() -> None:
        out.copy_(observations)
        np.subtract(x, mean, out=x)
        np.multiply(x, inverse_std, out=x)
        if clip is not None:
            np.clip(x, -clip, clip, out=x)

    return call


def linear_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Call:
    """out = x Wᵀ + b for x [B, F], out [B, O]."""
    weight, bias = weight.detach().t(), bias.detach()
    if len(x) > 1:
        return lambda: torch.addmm(bias, x, weight, out=out)
    # NumPy's BLAS multiplies a matrix by a vector in half the time that PyTorch's takes.
    vector, matrix, offset, result = x.numpy(), weight.numpy(), bias.numpy(), out.numpy()

    def call() -> None:
        np.dot(vector, matrix, out=result)
        np.add(result, offset, out=result)

    return call


def output_shape(layer: nn.Conv2d, x: Tensor) -> tuple[int, ...]:
    """Of a convolution of x [B, C, H, W]."""
    assert not isinstance(layer.padding, str)
    sizes = zip(x.shape[2:], layer.kernel_size, layer.stride, layer.padding, strict=True)
    return (
        len(x),
        layer.out_channels,
        *((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in sizes),
    )


def convolve(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """W * x + b, multiplied and given in the type of x; its sums are of float32."""
    assert layer.bias is not None
    return nn.functional.conv2d(
        x, layer.weight.to(x.dtype), layer.bias.to(x.dtype), layer.stride, layer.padding
    )


def convolution_into(
    x: Tensor, layer: nn.Conv2d, activation: Activation | None, out: Tensor, scratch: list[Tensor]
) -> Call:
    """out = φ(W * x + b) for x [B, C, H, W], out of `output_shape`, both channels_last and of one type; one image is float32.

    `scratch` is empty at the layer's first call and may be shared by all calls for one layer.
    """
    if len(x) > 1:
        into = _copy if activation is None else activation.into
        return lambda: into(convolve(x, layer), out)
    weight, bias, stride, padding = layer.weight.detach(), layer.bias, layer.stride, layer.padding
    assert bias is not None and not isinstance(padding, str)
    bias = bias.detach()
    # One image is one matrix product over its patches.
    (_, C, H, W), (_, D, h, w), (kh, kw), (ph, pw) = x.shape, out.shape, layer.kernel_size, padding
    if not scratch:
        scratch += [torch.zeros(H + 2 * ph, W + 2 * pw, C), torch.empty(h, w, kh, kw * C)]
    padded, columns = scratch
    row = padded.stride(0)
    windows = padded.as_strided((h, w, kh, kw * C), (stride[0] * row, stride[1] * C, row, 1))
    inner, image = padded[ph : ph + H, pw : pw + W], x[0].permute(1, 2, 0)
    patches, matrix = (
        columns.view(h * w, kh * kw * C),
        weight.permute(2, 3, 1, 0).reshape(kh * kw * C, D),
    )
    pixels = out[0].permute(1, 2, 0).view(h * w, D)
    assert matrix.data_ptr() == weight.data_ptr(), "convolution weights must lie channels_last"

    def call() -> None:
        inner.copy_(image)
        columns.copy_(windows)
        torch.addmm(bias, patches, matrix, out=pixels)
        if activation is not None:
            activation.into(out, out)

    return call


def _copy(x: Tensor, out: Tensor) -> Tensor:
    return out.copy_(x)
