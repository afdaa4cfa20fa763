"""Features on disk, memory-mapped: only the rows of a batch are ever read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.model.image_encoder import ImageFeatures
from oclear.model.text_encoder import TextFeatures

Level = Literal["spatial", "pooled", "embedding"]
"""How much of the model is frozen: the encoders; fusion too; the heads too."""


@dataclass(frozen=True, eq=False)
class PictureCache:
    """Cached features of the pictures of one side, fp16.

    Args:
        features: (n, C) pooled, fused for documents at the pooled level; (n, dim) embeddings at the embedding level.
        spatial: (n, L, C) at the spatial level for documents, else None.
        readable: (n,) bool; features of pictures that could not be decoded are zero.
    """

    features: NDArray[np.float16]
    spatial: NDArray[np.float16] | None
    readable: NDArray[np.bool_]

    def rows(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(len(rows), C) float32."""
        return torch.from_numpy(self.features[rows]).float()

    def image_rows(self, rows: NDArray[np.int64]) -> ImageFeatures:
        """Pooled and spatial features at the spatial level."""
        assert self.spatial is not None
        return ImageFeatures(self.rows(rows), torch.from_numpy(self.spatial[rows]).float())


@dataclass(frozen=True, eq=False)
class TextCache:
    """Cached token features, fp16: ``tokens`` (n, T, C), ``lengths`` (n,), and a hash of what they were made from."""

    tokens: NDArray[np.float16]
    lengths: NDArray[np.int64]
    identity: str

    def rows(self, rows: NDArray[np.int64]) -> TextFeatures:
        """The token features of some texts, padded to the longest of them."""
        lengths = torch.from_numpy(self.lengths[rows])
        longest = max(1, int(lengths.max())) if len(rows) else 1
        tokens = torch.from_numpy(self.tokens[rows, :longest]).float()
        return TextFeatures(tokens, torch.arange(longest) < lengths.unsqueeze(1))
