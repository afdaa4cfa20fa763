"""What the model itself needs while it learns: found by trial, so that it holds for any encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks

from oclear.model import TwoTowerModel
from oclear.model.encode import BATCH_SIZE
from oclear.training.cache_writing import feature_shapes
from oclear.training.cached_features import Level
from oclear.training.embedder import Embedder, Inputs
from oclear.training.optimizers import learning_parameters
from oclear.training.stage_data import CACHED_LEVEL
from oclear.training.stages import StageConfig

_COPIES_OF_LEARNING = 3  # the gradient and Adam's two moments


def model_memory(model: TwoTowerModel, stage: StageConfig, batch: int) -> dict[str, int]:
    """Bytes that a model takes while a stage learns, by part.

    Args:
        model: Left as it was.
        stage: Says what learns.
        batch: Samples of one rank.
    """
    size = stage.trained_size(model.preprocessing.size)
    learning = {parameter for _, parameter in learning_parameters(model, stage)}
    documents = round(stage.document_share * batch)
    level = CACHED_LEVEL[stage.trains]
    return {
        "model": _size_of([*model.parameters(), *model.buffers()]),
        "model's optimizer": _COPIES_OF_LEARNING * _size_of(learning),
        "weight average": _size_of(learning) if stage.averaging else 0,
        "activations": _activations(model, learning, level, size, batch - documents, documents),
    }


@torch.inference_mode()
def encoding_memory(model: TwoTowerModel) -> int:
    """Bytes that encoding a batch of pictures takes beside the model: pixels, and its largest layer."""
    size = model.preprocessing.size
    blank = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=model.device)
    pixels = 4 * blank.numel()  # as numbers; they stay until the encoder is through
    largest = pixels  # and there are two of them while they are normalised

    def watch(_: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        tensors = [t for t in (*inputs, output) if isinstance(t, torch.Tensor)]
        largest = max(largest, sum(_size(t) for t in tensors if t.shape != blank.shape))

    layers = [m for m in model.image_encoder.modules() if not list(m.children())]
    watching = [layer.register_forward_hook(watch) for layer in layers]
    try:
        model.image_features(blank)
    finally:
        for watch_ in watching:
            watch_.remove()
    return BATCH_SIZE * (_size(blank) + pixels + largest)


def _activations(
    model: TwoTowerModel,
    learning: set[torch.nn.Parameter],
    level: Level | None,
    size: int,
    queries: int,
    documents: int,
) -> int:
    """Bytes that a forward pass keeps for the backward pass, its inputs among them."""
    asked = {parameter: parameter.requires_grad for parameter in model.parameters()}
    try:
        for parameter in asked:
            parameter.requires_grad_(parameter in learning)
        few = _kept(model, level, size, 2, 2)
        per_query = _kept(model, level, size, 4, 2) - few
        per_document = _kept(model, level, size, 2, 4) - few
    finally:
        for parameter, value in asked.items():
            parameter.requires_grad_(value)
    return (queries * per_query + documents * per_document) // 2


def _kept(
    model: TwoTowerModel, level: Level | None, size: int, queries: int, documents: int
) -> int:
    inputs = _blank(model, level, size, queries, documents)
    own = {weight.untyped_storage().data_ptr() for weight in model.state_dict().values()}
    # By place in memory: several layers may keep one and the same tensor. Held until the end, or a place is used again.
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    for tensor in (inputs.pixels, inputs.queries, inputs.documents, inputs.spatial, inputs.tokens):
        if tensor is not None:
            keep(tensor)
    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        embeddings = Embedder(model, level)(inputs, dropout=0.1)
        total = sum(storage.nbytes() for storage in kept.values())
    del embeddings
    return total


def _blank(
    model: TwoTowerModel, level: Level | None, size: int, queries: int, documents: int
) -> Inputs:
    """Inputs of a level without any content, pictures of a size."""
    device = model.device
    is_document = torch.arange(queries + documents, device=device) >= queries
    tokens, mask = None, None
    if model.text_encoder is not None and level in (None, "spatial"):
        length = model.config.max_tokens
        tokens = torch.zeros(documents, length, model.text_encoder.width, device=device)
        mask = torch.ones(documents, length, dtype=torch.bool, device=device)
    if level is None:
        pixels = torch.zeros(queries + documents, 3, size, size, dtype=torch.uint8, device=device)
        return Inputs(is_document, pixels, tokens=tokens, mask=mask)
    of_query = feature_shapes(model, "query", level)["features"]
    of_document = feature_shapes(model, "document", level)

    def half(count: int, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.zeros(count, *shape, dtype=torch.float16, device=device)

    spatial = of_document.get("spatial")
    return Inputs(
        is_document,
        queries=half(queries, of_query),
        documents=half(documents, of_document["features"]),
        spatial=None if spatial is None else half(documents, spatial),
        tokens=tokens,
        mask=mask,
    )


def _size_of(tensors: Iterable[torch.Tensor]) -> int:
    return sum(_size(tensor) for tensor in tensors)


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
