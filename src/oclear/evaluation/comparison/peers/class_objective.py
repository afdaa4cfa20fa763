"""Losses that compare every sample with a learned vector of each class."""

from __future__ import annotations

import torch

from oclear.training.objective import Objective


class ClassObjective(Objective):
    """A loss of embeddings and classes, one class an item; photos and documents of an item are of its class.

    Args:
        classes: Items.
        loss: Of a library; called with embeddings (n, dim) and labels (n,).
    """

    def __init__(self, classes: int, loss: torch.nn.Module) -> None:
        super().__init__()
        self.classes, self.loss = classes, loss

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`~oclear.training.objective.Objective`."""
        loss: torch.Tensor = self.loss(embeddings, labels)
        return loss

    def comparisons(self, photos: int, documents: int) -> int:
        """All samples with all classes."""
        return (photos + documents) * self.classes
