"""Layers without gradients, as calls with bound arguments that write into given memory.

Acting consists of such calls. With one environment a step is a few dozen small calls between two
steps of an emulator, which has emptied the processor's caches. The cost of such a call is mostly
the code around its arithmetic. So arguments are bound beforehand, and each call uses the library
with the least code.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from a3c.networks.actor_critic import ActorCritic

Call = Callable[[], object]
_aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """A nonlinearity y = φ(x) whose derivative is a function of y."""

    into: Callable[[Tensor, Tensor], Tensor]  # (x, out) -> out; both may be the same memory
    gradient: Callable[[Tensor, Tensor], Tensor]  # (∂/∂y, y) -> ∂/∂x


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        lambda x, out: torch.clamp_min(x, 0.0, out=out),
        lambda g, y: _aten.threshold_backward(g, y, 0.0),
    ),
    nn.Tanh: Activation(
        lambda x, out: torch.tanh(x, out=out),
        lambda g, y: _aten.tanh_backward(g, y),
    ),
    nn.ELU: Activation(
        lambda x, out: _aten.elu.out(x, out=out),
        lambda g, y: _aten.elu_backward(g, 1.0, 1.0, 1.0, True, y),
    ),
}


def empty(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uninitialised memory [N, ...]; images are channels_last."""
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(shape, dtype=dtype, memory_format=layout)


def scale_into(model: ActorCritic, out: Tensor) -> Callable[[Tensor], object]:
    """Return the call that scales observations [N, ...] into `out`; see `ActorCritic.scaled`.

    The call's argument is the raw observations.
    """
    mean, inverse_std = model.observation_mean, model.observation_inverse_std
    clip = model.observation_clip
    if out.dtype != torch.float32:

        def scale(observations: Tensor) -> None:
            # An image has one mean for all pixels. As a scalar it keeps float32 precision and
            # leaves the type of `out` unchanged.
            out.copy_(observations).sub_(mean.squeeze()).mul_(inverse_std.squeeze())

        assert clip is None, "only vectors are clipped"
        return scale
    x, mean_array, inverse_std_array = out.numpy(), mean.numpy(), inverse_std.numpy()

    def call(observations: Tensor) -> None:
        out.copy_(observations)
        np.subtract(x, mean_array, out=x)
        np.multiply(x, inverse_std_array, out=x)
        if clip is not None:
            np.clip(x, -clip, clip, out=x)

    return call


def linear_into(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> Call:
    """Return the call out = x Wᵀ + b, for x [B, F] and out [B, O]."""
    weight, bias = weight.detach().t(), bias.detach()
    if len(x) > 1:
        return lambda: torch.addmm(bias, x, weight, out=out)
    # NumPy multiplies a matrix by a vector in half the time that PyTorch takes.
    vector, matrix, offset, result = x.numpy(), weight.numpy(), bias.numpy(), out.numpy()

    def call() -> None:
        np.dot(vector, matrix, out=result)
        np.add(result, offset, out=result)

    return call


def output_shape(layer: nn.Conv2d, x: Tensor) -> tuple[int, ...]:
    """Return the shape of a convolution's output for x [B, C, H, W]."""
    assert not isinstance(layer.padding, str)
    dimensions = zip(x.shape[2:], layer.kernel_size, layer.stride, layer.padding, strict=True)
    sizes = ((size + 2 * pad - kernel) // stride + 1 for size, kernel, stride, pad in dimensions)
    return (len(x), layer.out_channels, *sizes)


def convolution_into(
    x: Tensor,
    layer: nn.Conv2d,
    activation: Activation | None,
    out: Tensor,
    scratch: list[Tensor],
) -> Call:
    """Return the call out = φ(W * x + b), for x [B, C, H, W] and out of `output_shape`.

    Both must be channels_last and of one type, which must be float32 where B is 1. `scratch` must
    be an empty list at first; one list can serve all calls of a layer.
    """
    if len(x) > 1:
        into = _copy if activation is None else activation.into
        return lambda: into(layer(x), out)
    weight, bias, stride = layer.weight.detach(), layer.bias, layer.stride
    assert bias is not None and not isinstance(layer.padding, str)
    bias = bias.detach()
    # The convolution of one image is one matrix product over its patches.
    (_, C, H, W), (_, D, h, w) = x.shape, out.shape
    (kh, kw), (ph, pw) = layer.kernel_size, layer.padding
    if not scratch:
        scratch += [torch.zeros(H + 2 * ph, W + 2 * pw, C), torch.empty(h, w, kh, kw * C)]
    padded, columns = scratch
    row = padded.stride(0)
    windows = padded.as_strided((h, w, kh, kw * C), (stride[0] * row, stride[1] * C, row, 1))
    inner, image = padded[ph : ph + H, pw : pw + W], x[0].permute(1, 2, 0)
    patches = columns.view(h * w, kh * kw * C)
    matrix = weight.permute(2, 3, 1, 0).reshape(kh * kw * C, D)
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
