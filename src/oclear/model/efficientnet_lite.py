"""EfficientNet-Lite, which ``transformers`` does not have: its EfficientNet always squeezes and excites.

EfficientNet (Tan and Le 2019, "EfficientNet: Rethinking model scaling for convolutional neural networks", arXiv
1905.11946) scales the blocks of MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) in width, depth and picture size.
The Lite variant (its authors, 2020) leaves out squeeze-and-excitation, takes ReLU6 for swish, and does not scale stem
and head.

Importing this file registers the model with ``transformers``: ``AutoModel`` and ``AutoConfig`` then know its type.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

# Repeats, kernel, stride, expansion and output channels of each stage, before scaling.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
_DIVISOR = 8  # of every number of channels


class EfficientNetLiteConfig(PretrainedConfig):  # type: ignore[misc]
    """What an EfficientNet-Lite is made of; the defaults are those of Lite 0.

    Args:
        width_coefficient: Factor of the stages' channels.
        depth_coefficient: Factor of the stages' repeats; the first and the last stage are not repeated.
        image_size: Side of the pictures it was trained on, in pixels; it takes any.
        hidden_size: Channels of the last map.
        batch_norm_eps: Added to the variance in batch norms.
    """

    model_type = "efficientnet_lite"

    def __init__(
        self,
        width_coefficient: float = 1.0,
        depth_coefficient: float = 1.0,
        image_size: int = 224,
        hidden_size: int = 1280,
        batch_norm_eps: float = 1e-3,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.width_coefficient = width_coefficient
        self.depth_coefficient = depth_coefficient
        self.image_size = image_size
        self.hidden_size = hidden_size
        self.batch_norm_eps = batch_norm_eps


class EfficientNetLiteModel(PreTrainedModel):  # type: ignore[misc]
    """From pixels (B, 3, H, W) to a map ``last_hidden_state`` (B, C, ceil(H / 32), ceil(W / 32))."""

    config_class = EfficientNetLiteConfig
    main_input_name = "pixel_values"

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__(config)
        eps, channels = config.batch_norm_eps, _STEM
        self.stem = _ConvLayer(3, channels, kernel=3, stride=2, eps=eps)
        self.blocks = nn.Sequential()
        for number, (repeats, kernel, stride, expansion, base) in enumerate(_STAGES):
            is_scaled = 0 < number < len(_STAGES) - 1
            out = _scaled_channels(base, config.width_coefficient)
            if is_scaled:
                repeats = math.ceil(repeats * config.depth_coefficient)
            for step in (stride, *[1] * (repeats - 1)):
                self.blocks.append(_InvertedResidual(channels, out, kernel, step, expansion, eps))
                channels = out
        self.head = _ConvLayer(channels, config.hidden_size, eps=eps)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> BaseModelOutput:
        """Encodes normalised pixels."""
        return BaseModelOutput(last_hidden_state=self.head(self.blocks(self.stem(pixel_values))))


class _InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; added to the input where the shapes agree."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, eps: float
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        layers = [
            _ConvLayer(wide, wide, kernel=kernel, stride=stride, groups=wide, eps=eps),
            _ConvLayer(wide, outputs, activation=False, eps=eps),
        ]
        if expansion != 1:
            layers.insert(0, _ConvLayer(inputs, wide, eps=eps))
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(features)
        return features + output if self.is_residual else output


class _ConvLayer(nn.Module):
    """Convolution, batch norm, ReLU6; the children's names are those that ``fold_frozen_norms`` looks for."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
        eps: float,
    ) -> None:
        super().__init__()
        # Without a stride "same" is the same on both sides, and the convolution does it itself.
        own = kernel // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride, own, groups=groups, bias=False
        )
        self.normalization = nn.BatchNorm2d(outputs, eps=eps, momentum=0.01)
        self.activation = nn.ReLU6() if activation else nn.Identity()
        self.kernel, self.stride = kernel, stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.stride > 1:
            features = pad_same(features, self.kernel, self.stride)
        output: torch.Tensor = self.activation(self.normalization(self.convolution(features)))
        return output


def pad_same(features: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Zeros around a map (B, C, h, w) as TensorFlow's "same" padding puts them.

    A convolution then gives ceil(h / stride) rows; of an odd number of zeros the right and lower side get one more.
    """
    height, width = (int(length) for length in features.shape[-2:])
    (top, bottom), (left, right) = (_padding(length, kernel, stride) for length in (height, width))
    return F.pad(features, (left, right, top, bottom))


def _padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _scaled_channels(base: int, width: float) -> int:
    """The nearest multiple of 8, and not less than nine tenths of what was asked for."""
    wanted = base * width
    channels = max(_DIVISOR, int(wanted + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return channels + _DIVISOR if channels < 0.9 * wanted else channels


AutoConfig.register(EfficientNetLiteConfig.model_type, EfficientNetLiteConfig, exist_ok=True)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteModel, exist_ok=True)
