"""From the positions of a picture to one vector."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

PoolingName = Literal["average", "gem"]

_LEAST = 1e-6  # below it a power has no gradient that a computer can hold


class GeneralizedMean(nn.Module):
    """GeM pooling (Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", 2019).

    ``(mean_i max(x_i, 1e-6)^p)^(1/p)`` by channel: the mean at ``p = 1``, the largest value for a large p. One p for
    all channels, learned with the encoder from 3 on, as published. Negative features count as nothing.

    Example:
        >>> GeneralizedMean()(torch.tensor([[[0.0], [2.0]]])).round(decimals=4)
        tensor([[1.5874]], grad_fn=<RoundBackward1>)
    """

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(3.0))

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Pools (B, L, C) fp32 to (B, C)."""
        raised = positions.clamp_min(_LEAST).pow(self.power)
        return raised.mean(dim=1).pow(1 / self.power)
