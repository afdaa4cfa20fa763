"""Sampled softmax, as ``sentence-transformers`` trains retrieval: each photo picks its document of the batch."""

from __future__ import annotations

import torch

from oclear.evaluation.comparison.peers.peer import Peer
from oclear.training.objective import Objective


class SampledSoftmaxObjective(Objective):
    """``MultipleNegativesRankingLoss`` of ``sentence-transformers``, on embeddings that are there already.

    Args:
        scale: On cosines; the library's default is 20.
    """

    def __init__(self, scale: float = 20.0) -> None:
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        super().__init__()
        # The model is only asked for embeddings by its ``forward``, which is passed over here.
        self.loss = MultipleNegativesRankingLoss(model=None, scale=scale)

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`~oclear.training.objective.Objective`; photo i and document i are a pair."""
        sides = [embeddings[~is_document], embeddings[is_document]]
        loss: torch.Tensor = self.loss.compute_loss_from_embeddings(sides, labels)
        return loss

    def comparisons(self, photos: int, documents: int) -> int:
        """Photos with documents."""
        return photos * documents


def _make(classes: int, dim: int, **settings: float) -> Objective:
    return SampledSoftmaxObjective(**settings)


SAMPLED_SOFTMAX = Peer(
    "sampled_softmax",
    "sampled softmax (sentence-transformers)",
    "each clicked pair of photo and document is right, other documents of the batch are wrong",
    "distinct",
    _make,
    ({"scale": 20.0}, {"scale": 40.0}),
)
