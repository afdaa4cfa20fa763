"""Encoding with the files of 'oclear export': needs onnxruntime, numpy, Pillow and tokenizers; no torch, no oclear.

This very file lies beside the exported towers as ``usage.py``:

    towers = Towers("the folder")
    query = towers.encode_query([Image.open("photo.jpg")])
    document = towers.encode_document([Image.open("item.jpg")], ["title. description"])
    print(query @ document.T)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Towers:
    """The query and the document tower of an exported model.

    Args:
        folder: What ``oclear export`` wrote.
        providers: ONNX Runtime's, in order of preference.
    """

    def __init__(
        self, folder: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        import onnxruntime

        folder = Path(folder)
        self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        if self.manifest["format_version"] != 1:
            raise ValueError(f"{folder}: format version {self.manifest['format_version']}, not 1")
        self._query, self._document = (
            onnxruntime.InferenceSession(folder / name, providers=list(providers))
            for name in ("query.onnx", "document.onnx")
        )
        self._tokenizer: Any = None
        if self.manifest["text"] is not None:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
            text = self.manifest["text"]
            self._tokenizer.enable_truncation(text["max_tokens"])
            self._tokenizer.enable_padding(pad_id=text["pad_id"], pad_token=text["pad_token"])

    def encode_query(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Embeds photos as (N, dim), each of length 1."""
        vectors: NDArray[np.float32] = self._query.run(None, {"pixels": self._pixels(images)})[0]
        return vectors

    def encode_document(
        self, images: Sequence[Image.Image], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """Embeds documents as (N, dim), each of length 1: one picture and one text each, empty where there is none."""
        inputs: dict[str, NDArray[Any]] = {"pixels": self._pixels(images)}
        if self._tokenizer is not None:
            encoded = self._tokenizer.encode_batch(list(texts))
            # A text of nothing is no text, whatever marks the tokenizer puts around it.
            inputs["ids"] = np.array([e.ids for e in encoded], np.int64)
            inputs["mask"] = np.array(
                [
                    np.array(e.attention_mask) * bool(text.strip())
                    for e, text in zip(encoded, texts, strict=True)
                ],
                np.int64,
            )
        vectors: NDArray[np.float32] = self._document.run(None, inputs)[0]
        return vectors

    def _pixels(self, images: Sequence[Image.Image]) -> NDArray[np.uint8]:
        """Pictures as (N, 3, size, size); normalisation is inside the towers."""
        return np.stack([np.asarray(self._fit(image)).transpose(2, 0, 1) for image in images])

    def _fit(self, image: Image.Image) -> Image.Image:
        how = self.manifest["preprocessing"]
        image, size = ImageOps.exif_transpose(image).convert("RGB"), how["size"]
        resample = _FILTERS[how["resize"]]
        if how["fit"] == "pad":
            scale = size / max(image.size)
            small = image.resize(tuple(max(1, round(s * scale)) for s in image.size), resample)
            square = Image.new("RGB", (size, size), tuple(how["fill"]))
            square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
            return square
        if how["fit"] == "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        return image.resize((size, size), resample)
