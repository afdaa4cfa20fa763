"""What embeddings are asked for, where it is not the classification among proxies that this room exists for."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn


class Objective(nn.Module, ABC):
    """A loss over the embeddings of a batch, with whatever it learns of its own.

    A :class:`~oclear.training.trainer.Trainer` that is given one learns by it, in the same loop, from the same start
    and with the same budget; its parameters learn at ``proxies_lr``. It compares within the batch of one process.
    """

    @abstractmethod
    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            embeddings: (n, dim), normalised; photos first, then documents.
            labels: (n,) int64 class indices.
            is_document: (n,) bool.
        """

    @abstractmethod
    def comparisons(self, photos: int, documents: int) -> int:
        """Cosines that the loss of a batch of so many photos and documents takes."""
