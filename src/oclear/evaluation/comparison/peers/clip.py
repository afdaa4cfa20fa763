"""The symmetric contrastive loss of CLIP: each photo picks its document of the batch, each document its photo."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from oclear.evaluation.comparison.peers.peer import Peer
from oclear.training.objective import Objective

_LARGEST_SCALE = 100.0


class ClipObjective(Objective):
    """Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021), figure 3.

    The library that has it, ``open_clip``, cannot be installed without torchvision. The loss is written out here, and
    equals the symmetric one of ``sentence-transformers`` at any fixed temperature (a test holds it to that). As there,
    the temperature is learned, and the scale stays below 100.

    Args:
        temperature: At the start; CLIP's is 0.07.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / temperature)))

    def forward(
        self, embeddings: torch.Tensor, labels: torch.Tensor, is_document: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`~oclear.training.objective.Objective`; photo i and document i are a pair."""
        scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE)
        logits = scale * embeddings[~is_document] @ embeddings[is_document].T
        pairs = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2

    def comparisons(self, photos: int, documents: int) -> int:
        """Photos with documents."""
        return photos * documents


def _make(classes: int, dim: int, **settings: float) -> Objective:
    return ClipObjective(**settings)


CLIP = Peer(
    "clip",
    "symmetric contrastive (CLIP)",
    "each clicked pair of photo and document is right, others of the batch are wrong",
    "distinct",
    _make,
    ({"temperature": 0.07}, {"temperature": 0.03}),
)
