"""EfficientNet-Lite as a ``transformers`` model, which ``transformers`` itself does not have.

EfficientNet (Tan & Le 2019, arXiv 1905.11946) without squeeze-and-excitation, with ReLU6 for swish, and with stem and
head of one size at every scale, as TensorFlow's ``efficientnet/lite`` defines it. Importing this module makes the model
type known to ``AutoConfig`` and ``AutoModel``.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280


class _Group(NamedTuple):
    """Blocks of one kind, one after the other; the first one has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_GROUPS = (
    _Group(1, 3, 1, 1, 16),
    _Group(2, 3, 2, 6, 24),
    _Group(2, 5, 2, 6, 40),
    _Group(3, 3, 2, 6, 80),
    _Group(3, 5, 1, 6, 112),
    _Group(4, 5, 2, 6, 192),
    _Group(1, 3, 1, 6, 320),
)


class EfficientNetLiteConfig(PretrainedConfig):  # type: ignore[misc]
    """Size of an EfficientNet-Lite.

    Args:
        width_coefficient: Factor on the channels of the blocks.
        depth_coefficient: Factor on their number, but for the first and the last group.
    """

    model_type = "efficientnet_lite"

    def __init__(
        self, width_coefficient: float = 1.0, depth_coefficient: float = 1.0, **others: Any
    ) -> None:
        super().__init__(**others)
        self.width_coefficient = width_coefficient
        self.depth_coefficient = depth_coefficient
        self.hidden_size = _HEAD_CHANNELS


class EfficientNetLiteModel(PreTrainedModel):  # type: ignore[misc]
    """The network without its classifier; ``last_hidden_state`` is a map (B, 1280, H / 32, W / 32)."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        self.stem = _Layer(3, _STEM_CHANNELS, kernel=3, stride=2)
        self.blocks = nn.Sequential(*_blocks(config))
        last = _scaled(_GROUPS[-1].channels, config.width_coefficient)
        self.head = _Layer(last, _HEAD_CHANNELS)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> BaseModelOutput:
        """Encodes normalised pixels (B, 3, H, W)."""
        return BaseModelOutput(last_hidden_state=self.head(self.blocks(self.stem(pixel_values))))


class _Layer(nn.Module):
    """Convolution, batch norm and, where it is asked for, ReLU6; padded as TensorFlow does it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        activates: bool = True,
    ) -> None:
        super().__init__()
        # With stride 1 TensorFlow's padding is even, and the convolution's own.
        padding = kernel // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(
            in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False
        )
        self.normalization = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
        self.activation = nn.ReLU6(inplace=True) if activates else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.convolution.kernel_size[0], self.convolution.stride[0]
        if stride > 1:
            x = F.pad(x, (*_same(x.shape[3], kernel, stride), *_same(x.shape[2], kernel, stride)))
        output: torch.Tensor = self.activation(self.normalization(self.convolution(x)))
        return output


class _Block(nn.Module):
    """Inverted residual (Sandler et al. 2018): wider by 1 x 1, by channel, narrow again."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = _Layer(in_channels, wide) if expansion > 1 else nn.Identity()
        self.depthwise = _Layer(wide, wide, kernel, stride, groups=wide)
        self.project = _Layer(wide, out_channels, activates=False)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.project(self.depthwise(self.expand(x)))
        return x + output if self.is_residual else output


def _blocks(config: EfficientNetLiteConfig) -> list[_Block]:
    found = []
    channels = _STEM_CHANNELS
    for place, group in enumerate(_GROUPS):
        is_fixed = place in (0, len(_GROUPS) - 1)
        repeats = group.repeats if is_fixed else math.ceil(group.repeats * config.depth_coefficient)
        out_channels = _scaled(group.channels, config.width_coefficient)
        for number in range(repeats):
            stride = group.stride if number == 0 else 1
            found.append(_Block(channels, out_channels, group.kernel, stride, group.expansion))
            channels = out_channels
    return found


def _scaled(channels: int, factor: float) -> int:
    """A multiple of 8 near ``channels * factor``, never below nine tenths of it.

    Example:
        >>> [_scaled(channels, 1.1) for channels in (16, 24, 40, 80, 112)]
        [16, 24, 48, 88, 120]
    """
    wanted = channels * factor
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _same(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same" padding before and after: the odd pixel comes after.

    Example:
        >>> _same(224, 3, 2), _same(225, 3, 2), _same(112, 5, 2)
        ((0, 1), (1, 1), (1, 2))
    """
    total = max(0, (math.ceil(length / stride) - 1) * stride + kernel - length)
    return total // 2, total - total // 2


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel)
