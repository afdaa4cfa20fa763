"""Triplets with hard mining: of each batch the farthest right one and the nearest wrong one of every sample."""

from __future__ import annotations

import torch

from oclear.evaluation.comparison.peers.peer import Peer
from oclear.training.objective import Objective


class TripletObjective(Objective):
    """``TripletMarginLoss`` on the triplets of ``BatchHardMiner`` (``pytorch-metric-learning``).

    Batch-hard mining is of Hermans et al., "In Defense of the Triplet Loss" (2017). Photos and documents mine each
    other: a sample is right where it is of the same item.

    Args:
        margin: By which the wrong one is to be farther; the library's default is 0.05.
    """

    def __init__(self, margin: float = 0.05) -> None:
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import BatchHardMiner

        super().__init__()
        self.loss, self.miner = TripletMarginLoss(margin=margin), BatchHardMiner()

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`~oclear.training.objective.Objective`."""
        loss: torch.Tensor = self.loss(embeddings, labels, self.miner(embeddings, labels))
        return loss

    def comparisons(self, photos: int, documents: int) -> int:
        """All samples with all."""
        return (photos + documents) ** 2


def _make(classes: int, dim: int, **settings: float) -> Objective:
    return TripletObjective(**settings)


TRIPLET = Peer(
    "triplet",
    "triplet, hard mining",
    "photos that clicked one item, and its document, are alike",
    "grouped",
    _make,
    ({"margin": 0.05}, {"margin": 0.2}),
)
