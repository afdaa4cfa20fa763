"""The two-tower model: a photo on one side, a picture with text on the other, one embedding space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from oclear.errors import InputError
from oclear.model.concept import ConceptName, build_concept
from oclear.model.expectation import TextExpectation
from oclear.model.fusion import FusionName, build_fusion
from oclear.model.heads import SideTransformation
from oclear.model.image_encoder import ImageEncoder, ImageFeatures
from oclear.model.pooling import PoolingName
from oclear.model.preprocessing import ImagePreprocessing
from oclear.model.pretrained import ENCODER_PRESETS, load_image_encoder, load_text_encoder
from oclear.model.state_hash import state_hash
from oclear.model.text_encoder import TextEncoder, TextFeatures, Tokens


class ModelConfig(BaseModel):
    """What a new model is made of.

    ``preset`` may stand for both encoders (:data:`~oclear.model.pretrained.ENCODER_PRESETS`); one that is given beside
    it wins.

    Example:
        >>> ModelConfig.model_validate({"preset": "paper", "text_encoder": None}).image_encoder
        'microsoft/resnet-50'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_encoder: str = Field(
        default="mobilenet_v2", description="packaged name, folder or hub id"
    )
    text_encoder: str | None = Field(
        default="minilm", description="packaged name, folder or hub id; null for none"
    )
    image_size: int | None = Field(
        default=None, ge=16, le=2048, description="pixels; null: the encoder's own"
    )
    embedding_dim: int = Field(default=256, ge=2)
    text_columns: tuple[str, ...] = ("title", "description")
    max_tokens: int = Field(default=64, ge=4)
    pooling: PoolingName = Field(default="average", description="of the picture's positions")
    fusion: FusionName = Field(
        default="concept", description="how a document's picture and text become one"
    )
    concept: ConceptName = Field(
        default="external_memory", description="how one vector is read from a text's tokens"
    )
    memory_slots: int = Field(default=64, ge=1, description="of the external memory")
    concept_dim: int = Field(default=256, ge=8)
    side_strength: float = Field(
        default=0.1, ge=0, description="how far the two sides may come apart"
    )
    text_strength: float = Field(
        default=0.5, ge=0, description="how far documents are drawn to what their texts let expect"
    )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        """Names the encoders of a preset: what is written down must not change with what a preset stands for."""
        if not isinstance(values, dict) or "preset" not in values:
            return values
        name = values["preset"]
        if name not in ENCODER_PRESETS:
            raise ValueError(f"preset '{name}': expected one of {', '.join(ENCODER_PRESETS)}")
        image, text = ENCODER_PRESETS[name]
        given = {key: value for key, value in values.items() if key != "preset"}
        return {"image_encoder": image, "text_encoder": text, **given}

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.fusion == "text" and self.text_encoder is None:
            raise ValueError("fusion 'text' needs a text_encoder")
        has_heads = self.concept == "self_attention" or self.fusion == "cross_attention"
        if has_heads and self.concept_dim % 4:
            raise ValueError("attention has 4 heads: concept_dim has to be a multiple of 4")
        return self

    @property
    def arms(self) -> dict[str, str]:
        """Which of its parts are not the default ones."""
        chosen = {"pooling": self.pooling, "fusion": self.fusion, "concept": self.concept}
        return {
            name: value
            for name, value in chosen.items()
            if value != type(self).model_fields[name].default
        }


class TwoTowerModel(nn.Module):
    """Embeds query photos and documents so that the same thing lies in the same direction.

    Embeddings are L2-normalised: their product is the cosine. Make one with :meth:`from_encoders` for training, or
    :meth:`from_pretrained` for use.
    """

    def __init__(
        self,
        config: ModelConfig,
        preprocessing: ImagePreprocessing,
        image_encoder: ImageEncoder,
        text_encoder: TextEncoder | None,
    ) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = preprocessing
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder if config.fusion != "image" else None
        width = image_encoder.width
        if self.text_encoder is not None:
            words = self.text_encoder.width
            self.concept = build_concept(
                config.concept, words, config.concept_dim, config.memory_slots
            )
            self.fusion = build_fusion(config.fusion, width, config.concept_dim, words)
        self.heads = SideTransformation(width, config.embedding_dim, config.side_strength)
        # Not before the end of training: it is fitted to what the rest gives.
        self.expectation: TextExpectation | None
        self.register_module("expectation", None)

    @classmethod
    def from_encoders(cls, config: ModelConfig) -> TwoTowerModel:
        """A model on pretrained encoders, with new heads and fusion."""
        image = load_image_encoder(config.image_encoder)
        preprocessing = image.preprocessing
        if config.image_size is not None:
            preprocessing = preprocessing.model_copy(update={"size": config.image_size})
        text = None
        if config.text_encoder is not None and config.fusion != "image":
            loaded = load_text_encoder(config.text_encoder)
            text = TextEncoder(loaded.backbone, loaded.tokenizer, config.max_tokens)
        return cls(config, preprocessing, ImageEncoder(image.backbone, config.pooling), text)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> TwoTowerModel:
        """Loads a model folder, the output folder of ``train``, or a hub id. Needs no training code.

        Raises:
            InputError: There is no such folder or hub model.
            FormatError: The folder holds something else, or was written by a newer version.
        """
        from oclear.model.files import load_model

        return load_model(name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes ``config.json``, ``model.safetensors``, the tokenizer and a model card into a new folder."""
        from oclear.model.files import save_model

        save_model(self, Path(folder))

    def push_to_hub(self, repo_id: str, *, private: bool = True) -> None:
        """Publishes the model on the Hugging Face hub (needs a token in the environment)."""
        from oclear.model.files import push_model

        push_model(self, repo_id, private=private)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def text_columns_of(self, columns: Sequence[str]) -> list[str]:
        """Those of the configured text columns that a table has: text may be missing, pictures may not."""
        return [name for name in self.config.text_columns if name in columns]

    @property
    def description(self) -> dict[str, Any]:
        """All that is needed to build the model again without its weights; what ``config.json`` holds."""
        text = self.text_encoder
        return {
            "model": self.config.model_dump(mode="json"),
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "image_backbone": self.image_encoder.config,
            "text_backbone": None if text is None else text.config,
        }

    @property
    def model_id(self) -> str:
        """Hash of weights and preprocessing, 16 hex digits: vectors compare only within one ``model_id``."""
        settings = {
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "text_columns": self.config.text_columns,
            "max_tokens": self.config.max_tokens,
            "side_strength": self.config.side_strength,
            **self.config.arms,  # only where chosen: models of before keep their id
        }
        content = f"{json.dumps(settings, sort_keys=True)} {state_hash(self)}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    # From features: what frozen training stages call, on features computed once.

    def embed_query(self, pooled: torch.Tensor) -> torch.Tensor:
        """Embeds pooled photo features (B, C) as (B, dim)."""
        return F.normalize(self.heads(pooled, "query"), dim=-1)

    def embed_document(self, image: ImageFeatures, text: TextFeatures | None) -> torch.Tensor:
        """Embeds picture and token features of documents as (B, dim)."""
        seen = F.normalize(self.heads(self.fuse(image, text), "document"), dim=-1)
        return self.drawn_to_text(seen, text)

    def drawn_to_text(self, documents: torch.Tensor, text: TextFeatures | None) -> torch.Tensor:
        """Embeddings of documents (B, dim), drawn to what their texts let expect, where that was fitted."""
        if self.expectation is None or text is None:
            return documents
        return F.normalize(self.expectation.drawn(documents, text), dim=-1)

    @property
    def embeds_text_alone(self) -> bool:
        """Whether a document without any picture has an embedding.

        It has where texts say what to expect, which training finds out, or where fusion lets them through.
        """
        if self.text_encoder is None:
            return False
        return self.expectation is not None or self.fusion.says_what_text_says

    def embed_text(self, text: TextFeatures) -> torch.Tensor:
        """Embeds documents that have a text and no picture, as (B, dim).

        As what their texts let expect; where that was never fitted, the picture that is missing is taken for the
        average one, which the heads' centring makes say nothing.
        """
        if self.expectation is not None:
            return F.normalize(self.expectation.alone(text), dim=-1)
        average = self.heads.get_buffer("document_mean").expand(len(text.mask), -1)
        return self.embed_document(ImageFeatures(average, average.unsqueeze(1)), text)

    def fuse(self, image: ImageFeatures, text: TextFeatures | None) -> torch.Tensor:
        """The document's features (B, C): the picture, and what the text finds in it."""
        if text is None or self.text_encoder is None:
            return image.pooled.float()
        image = image._replace(pooled=image.pooled.float())
        concept = self.concept(text.tokens, text.mask)
        fused: torch.Tensor = self.fusion(image, text, concept)
        return torch.where(text.mask.any(dim=1, keepdim=True), fused, image.pooled)

    # From pixels and tokens: what end-to-end training calls.

    def image_features(self, pixels: torch.Tensor) -> ImageFeatures:
        """Features of uint8 pixels (B, 3, H, W)."""
        features: ImageFeatures = self.image_encoder(self.preprocessing.normalize(pixels))
        return features

    def text_features(self, tokens: Tokens | None) -> TextFeatures | None:
        """Features of tokens, None where the model or the batch has no text."""
        if tokens is None or self.text_encoder is None:
            return None
        features: TextFeatures = self.text_encoder(tokens)
        return features

    # For use: pictures and texts in, embeddings out.

    @torch.inference_mode()
    def encode_query(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Embeds RGB photos as (N, dim). The model is expected in ``eval`` mode, as it is loaded."""
        return self.embed_query(self.image_features(self._pixels(images)).pooled).cpu()

    @torch.inference_mode()
    def encode_document(self, images: Sequence[Image.Image], texts: Sequence[str]) -> torch.Tensor:
        """Embeds documents, one RGB picture and one text each (empty where there is none), as (N, dim).

        Raises:
            InputError: Not as many texts as pictures.
        """
        if len(images) != len(texts):
            raise InputError(
                f"{len(images)} pictures and {len(texts)} texts: give one text a picture"
            )
        text = None
        if self.text_encoder is not None:
            tokens = self.text_encoder.tokenize(texts)
            text = self.text_features(
                Tokens(tokens.ids.to(self.device), tokens.mask.to(self.device))
            )
        return self.embed_document(self.image_features(self._pixels(images)), text).cpu()

    def _pixels(self, images: Sequence[Image.Image]) -> torch.Tensor:
        pixels = [self.preprocessing(image.convert("RGB")) for image in images]
        return torch.stack(pixels).to(self.device)
