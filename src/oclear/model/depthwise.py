"""Depthwise convolutions whose backward pass is fast on a CPU.

The kernels that PyTorch calls there (oneDNN) have fast paths for the gradient of weights up to three columns wide and,
in bf16, none for the gradient of the input with a stride; elsewhere they compute like grouped convolutions, 3 to 40
times slower (measured, 2026-11-30). Both gradients are convolutions themselves (Dumoulin and Visin 2016, "A guide to
convolution arithmetic for deep learning", arXiv 1603.07285, chapter 4), so they are written here as ones that have a
fast path.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_FAST_COLUMNS = 3  # of a kernel whose gradient is fast


def use_fast_depthwise(network: nn.Module) -> None:
    """Gives the plain depthwise convolutions of a network the fast backward pass; changes the network."""
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_known(module):
            module.__class__ = FastConv2d  # keeps parameters, hooks and the mode as they are


def has_fast_gradients(convolution: nn.Conv2d) -> bool:
    """Whether it is depthwise, and :func:`use_fast_depthwise` has made it fast."""
    return isinstance(convolution, FastConv2d) and _is_known(convolution)


def _is_known(convolution: nn.Conv2d) -> bool:
    """Whether each channel is filtered by itself, by a kernel that :func:`depthwise_conv2d` takes."""
    return (
        convolution.groups == convolution.in_channels == convolution.out_channels > 1
        and len(set(convolution.kernel_size)) == len(set(convolution.stride)) == 1
        and not isinstance(convolution.padding, str)
        and len(set(convolution.padding)) == 1
        and convolution.padding[0] < convolution.kernel_size[0]
        and convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
    )


class FastConv2d(nn.Conv2d):
    """``nn.Conv2d``, which where it is depthwise and learns on a CPU is computed by :func:`depthwise_conv2d`."""

    def _conv_forward(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        learns = torch.is_grad_enabled() and (input.requires_grad or weight.requires_grad)
        # In fp32 PyTorch's own gradients of small kernels are fast.
        is_slow = self.kernel_size[1] > _FAST_COLUMNS or torch.is_autocast_enabled("cpu")
        if learns and is_slow and input.device.type == "cpu" and _is_known(self):
            return depthwise_conv2d(input, weight, bias, self.stride[0], int(self.padding[0]))
        output: torch.Tensor = super()._conv_forward(input, weight, bias)
        return output


def depthwise_conv2d(
    features: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
) -> torch.Tensor:
    """The same as ``F.conv2d(features, weight, bias, stride, padding, groups=C)``, gradients too.

    Args:
        features: (B, C, H, W), best in the layout ``channels_last``.
        weight: (C, 1, K, K).
        bias: (C,), or None.
        stride: Of both axes.
        padding: Zeros on each of the four sides, less than K.

    Returns:
        (B, C, H', W'), in the autocast's precision where one is on.

    Example:
        >>> features, weight = torch.randn(2, 8, 9, 9), torch.randn(8, 1, 5, 5)
        >>> result = depthwise_conv2d(features, weight, stride=2, padding=2)
        >>> expected = F.conv2d(features, weight, stride=2, padding=2, groups=8)
        >>> torch.allclose(result, expected, atol=1e-5)
        True
    """
    if torch.is_autocast_enabled(features.device.type):
        dtype = torch.get_autocast_dtype(features.device.type)
        # Out here, where autograd sees it: gradients come back in the precision of what they belong to.
        features, weight = features.to(dtype), weight.to(dtype)
        bias = None if bias is None else bias.to(dtype)
    output: torch.Tensor = _DepthwiseConv2d.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, stride, padding
    )
    return output


class _DepthwiseConv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: int,
        padding: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(features, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(features, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        features, weight = ctx.saved_tensors
        (gradient,) = gradients
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_features = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_features = _of_features(gradient, features, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(gradient, features, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=(0, 2, 3))
        return of_features, of_weight, of_bias, None, None


def _of_features(
    gradient: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    """A convolution of the gradient, zeros between its positions where there is a stride, with the turned kernel."""
    if gradient.dtype == torch.float32:
        return _native(gradient, features, weight, stride, (padding, padding), of_features=True)
    kernel = weight.shape[-1]
    if stride > 1:
        batch, channels, height, width = features.shape
        rows, columns = (length + 1 + 2 * padding - kernel for length in (height, width))
        spread = gradient.new_zeros(batch, rows, columns, channels).permute(0, 3, 1, 2)
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    return F.conv2d(
        gradient, weight.flip(2, 3), padding=kernel - 1 - padding, groups=weight.shape[0]
    )


def _of_weight(
    gradient: torch.Tensor, features: torch.Tensor, weight: torch.Tensor, stride: int, padding: int
) -> torch.Tensor:
    """A few columns of the kernel at a time, each from the columns of the features that they meet."""
    kernel, width = weight.shape[-1], features.shape[-1]
    if kernel <= _FAST_COLUMNS or width < kernel:
        return _native(gradient, features, weight, stride, (padding, padding), of_features=False)
    parts = []
    for first in range(0, kernel, _FAST_COLUMNS):
        columns = weight[..., first : first + _FAST_COLUMNS]
        met = stride * (gradient.shape[-1] - 1) + columns.shape[-1]
        # Pads where positive and crops where negative.
        window = F.pad(features, (padding - first, first + met - padding - width))
        window = window.contiguous(memory_format=torch.channels_last)
        parts.append(_native(gradient, window, columns, stride, (padding, 0), of_features=False))
    return torch.cat(parts, dim=-1)


def _native(
    gradient: torch.Tensor,
    features: torch.Tensor,
    weight: torch.Tensor,
    stride: int,
    padding: tuple[int, int],
    *,
    of_features: bool,
) -> torch.Tensor:
    """PyTorch's own gradient of the features, or else of the weight."""
    results = torch.ops.aten.convolution_backward(
        gradient,
        features,
        weight,
        bias_sizes=None,
        stride=[stride, stride],
        padding=list(padding),
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=weight.shape[0],
        output_mask=[of_features, not of_features, False],
    )
    wanted: torch.Tensor = results[0 if of_features else 1]
    return wanted
