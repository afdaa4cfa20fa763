"""What a text lets one expect of a thing's looks: items with like texts look alike."""

from __future__ import annotations

import torch
from torch import nn

from oclear.model.concept import masked_mean
from oclear.model.text_encoder import TextFeatures


class TextExpectation(nn.Module):
    """The embedding that a document's text lets expect, by ridge regression on the mean of its tokens.

    A catalogue picture is one view of a thing, and its text knows what other views show. So a document is drawn from
    what its picture says towards what its text says, and a document without a picture is what its text says. That is
    shrinkage towards a regression (Efron & Morris, "Data Analysis Using Stein's Estimator", 1975, towards a mean). It
    is fitted to the catalogue at the end of training, needs no photo and no label, and so knows items that nobody ever
    searched as well as others. It has nothing to learn by gradient.

    Args:
        text_width: Channels W of the token features.
        dim: Of the embeddings.
    """

    weight: torch.Tensor
    centre: torch.Tensor
    average: torch.Tensor
    strength: torch.Tensor

    def __init__(self, text_width: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(text_width, dim))
        self.register_buffer("centre", torch.zeros(text_width))
        self.register_buffer("average", torch.zeros(dim))
        self.register_buffer("strength", torch.zeros(()))

    def forward(self, text: TextFeatures) -> torch.Tensor:
        """How far from the average document a text lets expect its own, (B, dim); zero where there is no text."""
        read = masked_mean(text.tokens.float(), text.mask)
        expected: torch.Tensor = (read - self.centre) @ self.weight
        return expected * text.mask.any(dim=1, keepdim=True)

    def drawn(self, embeddings: torch.Tensor, text: TextFeatures) -> torch.Tensor:
        """Documents of unit length (B, dim), drawn to what their texts let expect; not yet normalised again."""
        drawn: torch.Tensor = embeddings + self.strength * self(text)
        return drawn

    def alone(self, text: TextFeatures) -> torch.Tensor:
        """What texts alone let expect, (B, dim), not normalised."""
        expected: torch.Tensor = self.average + self(text)
        return expected
