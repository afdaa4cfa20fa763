"""How a document's picture and text become one vector: concept-aware fusion, and what it is compared with."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from oclear.model.concept import masked_mean
from oclear.model.image_encoder import ImageFeatures
from oclear.model.text_encoder import TextFeatures

FusionName = Literal[
    "concept", "image", "text", "average", "concatenation", "gated_sum", "cross_attention"
]


class Fusion(nn.Module):
    """Fuses documents that have a picture and a text.

    Attributes:
        says_what_text_says: Whether the text reaches the result by itself. If not, it only says where to look, and a
            document without a picture has no features.
    """

    says_what_text_says = True

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """The document's features (B, C).

        Args:
            image: ``pooled`` (B, C) and ``spatial`` (B, L, C).
            text: Token features (B, T, W).
            concept: What the text is about, (B, concept_dim).
        """
        raise NotImplementedError

    def look(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor | None:
        """Where the text looks on the picture, (B, L), each row summing to 1; None where it does not look."""
        return None

    def fit_start(self, spatial: torch.Tensor) -> None:
        """Starts from positions (B, L, C) of training documents, where that helps."""


class ConceptFusion(Fusion):
    """Adds to the pooled picture what the concept finds on its positions.

    ``a = softmax(c W_q (V W_k)^T / sqrt(d))``, ``f = a V W_v``, ``document = pooled + gate * f``. The gate starts at
    zero, so training starts from the picture alone and text enters only as far as it helps.

    Args:
        image_width: Channels of the image features.
        concept_dim: Channels of the concept.
    """

    says_what_text_says = False

    def __init__(self, image_width: int, concept_dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(concept_dim, concept_dim, bias=False)
        nn.init.normal_(self.query.weight, std=concept_dim**-0.5)
        self.key = nn.Linear(image_width, concept_dim, bias=False)
        self.value = nn.Linear(image_width, image_width, bias=False)
        nn.init.eye_(self.value.weight)
        self.gate = nn.Parameter(torch.zeros(image_width))

    def attention(self, concept: torch.Tensor, spatial: torch.Tensor) -> torch.Tensor:
        """How much the concept looks at each position, (B, L), each row summing to 1."""
        query = self.query(concept).unsqueeze(1)
        scores: torch.Tensor = (query * self.key(spatial)).sum(dim=-1) / query.shape[-1] ** 0.5
        return scores.float().softmax(dim=-1)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Fusion`."""
        weights = self.attention(concept, image.spatial).unsqueeze(1)
        found: torch.Tensor = self.value((weights @ image.spatial.float()).squeeze(1))
        return image.pooled + self.gate * found

    def look(self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor) -> torch.Tensor:
        """See :class:`Fusion`."""
        return self.attention(concept, image.spatial)

    @torch.no_grad()
    def fit_start(self, spatial: torch.Tensor) -> None:
        """Gives keys unit deviation within a picture: with smaller ones every concept looks at all positions alike."""
        keys = self.key(spatial.to(self.key.weight.device).float())
        deviation = (keys - keys.mean(dim=1, keepdim=True)).square().mean().sqrt()
        self.key.weight.div_(deviation.clamp_min(1e-3))


class TextOnly(Fusion):
    """The text alone: what pictures of documents are worth shows beside it."""

    def __init__(self, image_width: int, concept_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(concept_dim, image_width)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Fusion`."""
        projected: torch.Tensor = self.project(concept)
        return projected


class Average(TextOnly):
    """The mean of the pooled picture and of the projected text."""

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Fusion`."""
        mean: torch.Tensor = (image.pooled + self.project(concept)) / 2
        return mean


class Concatenation(Fusion):
    """Both side by side, then one linear layer; it starts as the picture alone."""

    def __init__(self, image_width: int, concept_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(image_width + concept_dim, image_width)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Fusion`."""
        projected: torch.Tensor = self.project(torch.cat([image.pooled, concept], dim=1))
        return projected


class GatedSum(Fusion):
    """``pooled + sigmoid(W [pooled, c] + b) * tanh(P c)``: picture and text say how much text enters, by channel.

    A gated multimodal unit (Arevalo et al., 2017) around the picture. P starts at zero: the picture alone.
    """

    def __init__(self, image_width: int, concept_dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(image_width + concept_dim, image_width)
        self.project = nn.Linear(concept_dim, image_width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Fusion`."""
        opening = self.gate(torch.cat([image.pooled, concept], dim=1)).sigmoid()
        added: torch.Tensor = opening * self.project(concept).tanh()
        return image.pooled + added


class CrossAttention(Fusion):
    """Every token asks the picture's positions; what they find on average, and the concept, are added to the picture.

    Multi-head attention as between the towers of ViLBERT (Lu et al., 2019), with text as the side that asks. The last
    layer starts at zero: the picture alone.

    Args:
        image_width: Channels of the image features.
        concept_dim: Channels of the concept, a multiple of 4.
        text_width: Channels of the token features.
    """

    def __init__(self, image_width: int, concept_dim: int, text_width: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(text_width, concept_dim)
        self.positions = nn.Linear(image_width, concept_dim)
        self.attention = nn.MultiheadAttention(concept_dim, num_heads=4, batch_first=True)
        self.project = nn.Linear(concept_dim, image_width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(
        self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor
    ) -> torch.Tensor:
        """See :class:`Fusion`."""
        found, _ = self._ask(image, text)
        added: torch.Tensor = self.project(concept + masked_mean(found, text.mask))
        return image.pooled + added

    def look(self, image: ImageFeatures, text: TextFeatures, concept: torch.Tensor) -> torch.Tensor:
        """See :class:`Fusion`; the mean over tokens."""
        return masked_mean(self._ask(image, text)[1], text.mask)

    def _ask(self, image: ImageFeatures, text: TextFeatures) -> tuple[torch.Tensor, torch.Tensor]:
        """What each token finds, (B, T, D), and where, (B, T, L), the mean over the heads."""
        positions = self.positions(image.spatial.float())
        found: tuple[torch.Tensor, torch.Tensor] = self.attention(
            self.tokens(text.tokens), positions, positions
        )
        return found


def build_fusion(kind: FusionName, image_width: int, concept_dim: int, text_width: int) -> Fusion:
    """The fusion of a configuration; ``image`` has none, and no text encoder either."""
    if kind == "cross_attention":
        return CrossAttention(image_width, concept_dim, text_width)
    fusions = {
        "concept": ConceptFusion,
        "text": TextOnly,
        "average": Average,
        "concatenation": Concatenation,
        "gated_sum": GatedSum,
    }
    return fusions[kind](image_width, concept_dim)
