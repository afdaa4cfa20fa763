"""Batch norms with frozen statistics, computed inside the convolution before them.

With fixed statistics, a norm after a convolution is one convolution with weight * scale and bias = beta - mean * scale,
where scale = gamma / sqrt(variance + eps) (Jacob et al. 2018, "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", section 3.2). While the network learns it is computed anew in every pass:
parameters and buffers stay what and where they were, and with them gradients, state dicts and files. What is saved is a
pass over the activations. Without gradients it is computed when something of it has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Self

import torch
from torch import nn

from oclear.model.depthwise import FastConv2d


def fold_frozen_norms(network: nn.Module) -> None:
    """Makes convolutions compute the 2-D batch norms after them while those are in eval mode; changes the network.

    In train mode a norm is an ordinary batch norm. Pairs are neighbours in an ``nn.Sequential``, and the children
    ``convolution`` and ``normalization`` of a layer, as ``transformers`` names them (MobileNet, ResNet, RegNet, ...).
    """
    uses = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    for layer in network.modules():
        for convolution, norm in _neighbours(layer):
            if _can_fold(convolution, norm) and uses[id(convolution)] == uses[id(norm)] == 1:
                _fold(convolution, norm)


def _neighbours(layer: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Children of which the second takes what the first gives, and nothing else does."""
    if type(layer) is nn.Sequential:
        yield from pairwise(layer)
    children = dict(layer.named_children())
    if {"convolution", "normalization"} <= children.keys():
        yield children["convolution"], children["normalization"]


def _can_fold(convolution: nn.Module, norm: nn.Module) -> bool:
    # Of exactly these classes: what a subclass computes is not known here.
    return (
        type(convolution) is nn.Conv2d
        and type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.track_running_stats
        and norm.num_features == convolution.out_channels
    )


def _fold(convolution: nn.Module, norm: nn.Module) -> None:
    # A change of class keeps parameters, buffers, hooks and the mode as they are.
    convolution.__class__, norm.__class__ = _FoldingConv2d, _FoldedBatchNorm2d
    # In a tuple: the norm would otherwise be registered a second time, under the convolution's name.
    convolution.norm = (norm,)  # type: ignore[assignment]


class _FoldingConv2d(FastConv2d):
    """A convolution that also does the work of the norm after it, unless that is in train mode."""

    norm: tuple[_FoldedBatchNorm2d]
    _folded: tuple[tuple[Any, ...], torch.Tensor, torch.Tensor] | None = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        (norm,) = self.norm
        if norm.training:
            return super().forward(input)
        weight, bias = self._learning() if torch.is_grad_enabled() else self._kept(input.device)
        output: torch.Tensor = self._conv_forward(input, weight, bias)
        return output

    def _learning(self) -> tuple[torch.Tensor, torch.Tensor]:
        self._folded = None
        return self._fold()

    def _kept(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """The folded weight and bias of last time where nothing has changed: folding takes a sixth of one photo's time.

        Measured with ResNet-50 on one thread. In an autocast they are kept in its precision.
        """
        is_cast = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if is_cast else self.weight.dtype
        (norm,) = self.norm
        sources = [self.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
        sources += [] if self.bias is None else [self.bias]
        if torch.compiler.is_compiling() or any(tensor.is_inference() for tensor in sources):
            return self._fold()
        # Changes in place raise the version of a tensor; those through ``.data`` or NumPy do not, and are not seen.
        state = (dtype, norm.eps, *((tensor.data_ptr(), tensor._version) for tensor in sources))
        kept = self._folded
        if kept is None or kept[0] != state:
            weight, bias = self._fold()
            kept = self._folded = state, weight.to(dtype), bias.to(dtype)
        return kept[1:]

    def _fold(self) -> tuple[torch.Tensor, torch.Tensor]:
        scale, bias = self.norm[0].as_scale_and_bias()
        if self.bias is not None:
            bias = bias + self.bias * scale
        return self.weight * scale.view(-1, 1, 1, 1), bias

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_folded"}

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        self._folded = None  # a new tensor may lie where the old one did
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
        return self


class _FoldedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that the convolution before it computes, unless in train mode."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def as_scale_and_bias(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the norm multiplies each channel (C,) by and then adds."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) if self.training else input
