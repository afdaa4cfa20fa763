"""From the inputs of a batch to its embeddings: the part of the model that a stage trains, as one module."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import nn

from oclear.model import TwoTowerModel
from oclear.model.image_encoder import ImageFeatures
from oclear.model.text_encoder import TextFeatures
from oclear.training.cached_features import Level


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is known of n samples, q of them queries and d documents, each side in the order of the samples.

    Attributes:
        is_document: (n,) bool.
        pixels: Of all samples, (n, 3, S, S) uint8, where the image encoder is to run.
        queries: (q, C) pooled features, or (q, dim) embeddings, where it has run.
        documents: (d, C) pooled features, fused unless ``spatial`` is given, or (d, dim) embeddings.
        spatial: (d, L, C), where fusion is to run.
        tokens: Token features of the documents, (d, T, W), and
        mask: their places with text, (d, T) bool; None where there is no text, or nothing that learns reads it.
    """

    is_document: torch.Tensor
    pixels: torch.Tensor | None = None
    queries: torch.Tensor | None = None
    documents: torch.Tensor | None = None
    spatial: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    mask: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.is_document)

    def to(self, device: torch.device) -> Inputs:
        """The same on a device."""
        moved = {
            field.name: tensor.to(device)
            for field in fields(self)
            if (tensor := getattr(self, field.name)) is not None
        }
        return replace(self, **moved)

    @property
    def text(self) -> TextFeatures | None:
        """The documents' texts."""
        if self.tokens is None or self.mask is None:
            return None
        return TextFeatures(self.tokens, self.mask)


class Embedder(nn.Module):
    """Embeds inputs, with gradients for whatever is not frozen. Data-parallel training wraps this one module.

    Args:
        model: Learns.
        level: How much of it is frozen, so that inputs are what it gives; None where they are pixels.
    """

    def __init__(self, model: TwoTowerModel, level: Level | None) -> None:
        super().__init__()
        self.model, self.level = model, level

    def forward(self, inputs: Inputs, dropout: float = 0.0) -> torch.Tensor:
        """Embeddings (n, dim), normalised.

        Args:
            inputs: On the model's device.
            dropout: On the features before the heads.
        """
        queries, documents = self._features(inputs)
        if self.level != "embedding":
            heads = self.model.heads
            queries = F.normalize(heads(F.dropout(queries, dropout), "query"), dim=-1)
            documents = F.normalize(heads(F.dropout(documents, dropout), "document"), dim=-1)
            documents = self.model.drawn_to_text(documents, inputs.text)
        embeddings = queries.new_empty(len(inputs), queries.shape[1])
        embeddings[~inputs.is_document] = queries
        embeddings[inputs.is_document] = documents
        return embeddings

    def _features(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        if inputs.pixels is not None:
            # One pass of the encoder for both sides: they share it.
            image = self.model.image_features(inputs.pixels)
            queries = image.pooled[~inputs.is_document]
            documents, spatial = (part[inputs.is_document] for part in image)
        else:
            assert inputs.queries is not None
            assert inputs.documents is not None
            queries, documents = inputs.queries.float(), inputs.documents.float()
            if inputs.spatial is None:
                return queries, documents
            spatial = inputs.spatial.float()
        return queries, self.model.fuse(ImageFeatures(documents, spatial), inputs.text)
