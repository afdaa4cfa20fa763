"""A model folder as a model of ``sentence-transformers``: queries are pictures, documents pictures with text.

    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer("run/training/model", trust_remote_code=True)
    query = model.encode_query([Image.open("photo.jpg")])
    document = model.encode_document([{"image": Image.open("item.jpg"), "text": "title. description"}])

``trust_remote_code`` is what that library asks for before it imports any class that is not its own; this class comes
from the installed ``oclear``, nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from sentence_transformers.base.modules import InputModule

from oclear.errors import InputError
from oclear.model.text_encoder import Tokens
from oclear.model.two_tower import TwoTowerModel


class TwoTower(InputModule):  # type: ignore[misc]
    """Both towers as the one module of a ``SentenceTransformer``.

    Args:
        model: The model.
    """

    forward_kwargs = {"task"}  # noqa: RUF012 (the base class has it so)

    def __init__(self, model: TwoTowerModel) -> None:
        super().__init__()
        self.model = model

    @property
    def modalities(self) -> list[Any]:
        """What it takes: a picture, or a picture with a text."""
        return ["image", ("image", "text")]

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return self.model.config.embedding_dim

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, torch.Tensor]:
        """Pictures, or ``{"image": picture, "text": text}``, as what the towers take.

        Raises:
            InputError: A prompt, which nothing was trained with; something that is no picture.
        """
        if prompt:
            raise InputError(f"prompt {prompt!r}: this model was trained without prompts")
        pairs = [x if isinstance(x, dict) else {"image": x} for x in inputs]
        images = [pair.get("image") for pair in pairs]
        if not all(isinstance(image, Image.Image) for image in images):
            raise InputError(
                "a query is a PIL picture, a document a picture with or without text",
                'Give Image.open("photo.jpg"), or {"image": ..., "text": ...}.',
            )
        pixels = [self.model.preprocessing(image.convert("RGB")) for image in images if image]
        features = {"pixels": torch.stack(pixels)}
        if self.model.text_encoder is not None:
            tokens = self.model.text_encoder.tokenize([pair.get("text") or "" for pair in pairs])
            features |= {"ids": tokens.ids, "mask": tokens.mask}
        return features

    def forward(
        self, features: dict[str, Any], task: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Embeds: by the document tower for the task ``document``, by the query tower for all others."""
        image = self.model.image_features(features["pixels"])
        if task == "document":
            text = None
            if "ids" in features:
                text = self.model.text_features(Tokens(features["ids"], features["mask"]))
            vectors = self.model.embed_document(image, text)
        else:
            vectors = self.model.embed_query(image.pooled)
        return {**features, "sentence_embedding": vectors}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Writes the model folder."""
        self.model.save_pretrained(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> TwoTower:
        """Loads a model folder, the output of ``oclear train``, or a hub id."""
        return cls(TwoTowerModel.from_pretrained(model_name_or_path))
