"""The text encoder of documents: token features of a BERT-like model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from oclear.model.image_encoder import backbone_from_config
from oclear.model.precision import encoder_autocast


class Tokens(NamedTuple):
    """A tokenised batch: ``ids`` and ``mask``, both (B, T) int64; mask 1 for text, 0 for padding."""

    ids: torch.Tensor
    mask: torch.Tensor


class TextFeatures(NamedTuple):
    """Token features ``tokens`` (B, T, C) fp32 and their ``mask`` (B, T), True where there is text."""

    tokens: torch.Tensor
    mask: torch.Tensor


class TextEncoder(nn.Module):
    """Any Hugging Face text model as one that gives token features.

    Args:
        backbone: A ``transformers`` text model.
        tokenizer: Its tokenizer.
        max_tokens: Longer texts are cut.
    """

    def __init__(self, backbone: nn.Module, tokenizer: Any, max_tokens: int = 64) -> None:
        super().__init__()
        self.backbone = backbone
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: Any, max_tokens: int) -> TextEncoder:
        """An encoder with random weights, from the configuration of its ``transformers`` model."""
        return cls(backbone_from_config(config), tokenizer, max_tokens)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the ``transformers`` model; :meth:`from_config` takes it."""
        return dict(self.backbone.config.to_dict())  # type: ignore[union-attr, operator]

    @property
    def width(self) -> int:
        """Number of feature channels C."""
        return int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts as padded tokens. An empty text has a mask of zeros: it says nothing, and is treated so."""
        encoded = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_attention_mask=True,
            return_tensors="pt",
        )
        has_text = torch.tensor([bool(text.strip()) for text in texts]).unsqueeze(1)
        return Tokens(encoded["input_ids"], encoded["attention_mask"] * has_text)

    def forward(self, tokens: Tokens) -> TextFeatures:
        """Encodes a tokenised batch."""
        # A row without any text would make the attention softmax divide by zero: let it attend, then mask it out.
        empty = ~tokens.mask.any(dim=1, keepdim=True)
        with encoder_autocast(self.backbone, tokens.ids.device):
            output = self.backbone(input_ids=tokens.ids, attention_mask=tokens.mask + empty)
        return TextFeatures(output.last_hidden_state.float(), tokens.mask.bool())
