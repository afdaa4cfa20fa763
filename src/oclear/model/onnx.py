"""Both towers as ONNX files: fp32, batches of any size, pixels as uint8 with their normalisation inside."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

from oclear.model.precision import full_precision
from oclear.model.text_encoder import Tokens
from oclear.model.two_tower import TwoTowerModel


class QueryTower(nn.Module):
    """From fitted uint8 pixels (B, 3, S, S) to embeddings (B, dim)."""

    def __init__(self, model: TwoTowerModel) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeds photos."""
        return self.model.embed_query(self.model.image_features(pixels).pooled)


class DocumentTower(nn.Module):
    """From fitted uint8 pixels (B, 3, S, S), token ids and their mask (B, T), both int64, to embeddings (B, dim).

    Models that read no text take pixels only.
    """

    def __init__(self, model: TwoTowerModel) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(
        self,
        pixels: torch.Tensor,
        ids: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Embeds documents; a row of the mask that is all zero is a document without text."""
        text = None
        if ids is not None and mask is not None:
            text = self.model.text_features(Tokens(ids, mask))
        return self.model.embed_document(self.model.image_features(pixels), text)


def query_onnx(model: TwoTowerModel) -> bytes:
    """The query tower as an ONNX file: ``pixels`` to ``vectors``."""
    return _convert(QueryTower(model), {"pixels": _example_pixels(model)})


def document_onnx(model: TwoTowerModel) -> bytes:
    """The document tower as an ONNX file: ``pixels``, and ``ids`` and ``mask`` where it reads, to ``vectors``."""
    example = {"pixels": _example_pixels(model)}
    if model.text_encoder is not None:
        length = min(8, model.config.max_tokens)
        ids = torch.ones(2, length, dtype=torch.int64, device=model.device)
        mask = ids.clone()
        mask[1, length // 2 :] = 0
        example |= {"ids": ids, "mask": mask}
    return _convert(DocumentTower(model), example)


def _example_pixels(model: TwoTowerModel) -> torch.Tensor:
    size = model.preprocessing.size
    return torch.zeros(2, 3, size, size, dtype=torch.uint8, device=model.device)


def _convert(tower: nn.Module, example: dict[str, torch.Tensor]) -> bytes:
    axes = {name: {0: "batch"} for name in (*example, "vectors")}
    for name in example.keys() & {"ids", "mask"}:
        axes[name][1] = "tokens"
    with (
        tempfile.TemporaryDirectory() as folder,
        warnings.catch_warnings(),
        torch.inference_mode(),
        full_precision(),
    ):
        warnings.simplefilter("ignore")  # what tracing warns of is checked by comparing vectors
        file = Path(folder) / "tower.onnx"
        torch.onnx.export(
            tower,
            tuple(example.values()),
            file,
            input_names=list(example),
            output_names=["vectors"],
            dynamic_axes=axes,
            # The newer exporter needs another package, and three times as long.
            dynamo=False,
        )
        return file.read_bytes()
