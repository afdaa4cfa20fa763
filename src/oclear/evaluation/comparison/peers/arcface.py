"""ArcFace of ``pytorch-metric-learning``: one class an item, an angle as margin."""

from __future__ import annotations

import torch

from oclear.evaluation.comparison.peers.peer import Peer
from oclear.training.objective import Objective


class ArcFaceObjective(Objective):
    """``ArcFaceLoss`` (Deng et al., "ArcFace", 2019); photos and documents of an item are of its class.

    Args:
        classes: Items.
        dim: Of embeddings.
        scale: On cosines; the library's default is 64.
    """

    def __init__(self, classes: int, dim: int, scale: float = 64.0) -> None:
        from pytorch_metric_learning.losses import ArcFaceLoss

        super().__init__()
        self.classes = classes
        self.loss = ArcFaceLoss(classes, dim, scale=scale)

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`~oclear.training.objective.Objective`."""
        loss: torch.Tensor = self.loss(embeddings, labels)
        return loss

    def comparisons(self, photos: int, documents: int) -> int:
        """All samples with all classes."""
        return (photos + documents) * self.classes


def _make(classes: int, dim: int, **settings: float) -> Objective:
    return ArcFaceObjective(classes, dim, **settings)


ARCFACE = Peer(
    "arcface",
    "ArcFace (pytorch-metric-learning)",
    "a photo is of the class of each item it clicked, a document of its own",
    "shuffled",
    _make,
    ({"scale": 64.0}, {"scale": 24.0}),
)
