"""Margins: how much better than the rest a sample must know its own class."""

from __future__ import annotations

from typing import Literal, Protocol

import torch

MarginName = Literal["cosface", "arcface"]


class Margin(Protocol):
    """Lowers the cosine of a sample with its own class, so that training asks for more than being right."""

    def __call__(
        self, positive_cosines: torch.Tensor, margin: float | torch.Tensor
    ) -> torch.Tensor:
        """Positive cosines (any shape, fp32) with the margin applied: one for all, or one for each."""
        ...


def cosface(positive_cosines: torch.Tensor, margin: float | torch.Tensor) -> torch.Tensor:
    """``cos - m`` (Wang et al., "CosFace", 2018).

    Example:
        >>> cosface(torch.tensor([0.9]), 0.2)
        tensor([0.7000])
    """
    return positive_cosines - margin


def arcface(positive_cosines: torch.Tensor, margin: float | torch.Tensor) -> torch.Tensor:
    """``cos(angle + m)`` (Deng et al., "ArcFace", 2019), going on as a line where ``angle + m`` passes pi.

    The sine is guarded: its gradient at a cosine of one is infinite, which is the NaN that others report.

    Example:
        >>> arcface(torch.tensor([1.0]), 0.5).round(decimals=4)
        tensor([0.8774])
    """
    cosine = positive_cosines.clamp(-1.0, 1.0)
    sine = (1.0 - cosine * cosine).clamp_min(1e-7).sqrt()
    angle = torch.as_tensor(margin, dtype=cosine.dtype, device=cosine.device)
    shifted = cosine * angle.cos() - sine * angle.sin()
    past_pi = cosine < -angle.cos()
    return torch.where(past_pi, cosine - angle * angle.sin(), shifted)


def frequency_shares(class_sizes: torch.Tensor, exponent: float) -> torch.Tensor:
    """The share of the margin that each class is asked for: all of it for the rarest, less for those often seen.

    ``(n_min / n)^exponent``; with 1/4 these are the label-distribution-aware margins of Cao et al. (LDAM, 2019).

    Args:
        class_sizes: Samples of each class, (n,); classes of none count as one.
        exponent: 0 or more; 0 asks all alike.

    Example:
        >>> frequency_shares(torch.tensor([1, 16, 81]), 0.25)
        tensor([1.0000, 0.5000, 0.3333])
    """
    sizes = class_sizes.float().clamp_min(1)
    return (sizes.min() / sizes) ** exponent


MARGINS: dict[MarginName, Margin] = {"cosface": cosface, "arcface": arcface}
