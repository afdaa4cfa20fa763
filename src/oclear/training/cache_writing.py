"""Computing what is cached: each rank encodes a share of the batches, and a killed run keeps those that are done.

Batches have fixed borders, so a cache is the same to the bit on any number of ranks and after any number of kills.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.errors import OclearError
from oclear.model import TwoTowerModel
from oclear.model.encode import BATCH_SIZE, Progress, load_plain, pixel_batches, text_batches
from oclear.model.text_encoder import TextFeatures
from oclear.output import atomic_file
from oclear.tables import Pictures, SkippedImages
from oclear.training.cached_features import Level, TextCache
from oclear.training.ranks import Ranks

_FLUSH_EVERY = 64  # batches


@torch.inference_mode()
def write_picture_features(
    model: TwoTowerModel,
    pictures: Pictures,
    texts: TextCache | None,
    place: Path,
    level: Level,
    ranks: Ranks,
    progress: Progress | None,
) -> SkippedImages:
    """Writes ``features.npy``, ``spatial.npy`` (documents at the spatial level) and ``readable.npy``.

    Collective: all ranks see one folder.

    Returns:
        All pictures that cannot be decoded, in order, on every rank.
    """
    count = len(pictures)
    shapes = feature_shapes(model, pictures.side, level)
    if ranks.is_main:
        place.mkdir(parents=True, exist_ok=True)
        for name, shape in shapes.items():
            _create(place / f"{name}.npy", np.float16, (count, *shape))
        _create(place / "readable.npy", np.bool_, (count,))
        _create(place / "batches.npy", np.bool_, (-(-count // BATCH_SIZE),))
    ranks.wait()
    arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r+") for name in shapes}
    readable = np.load(place / "readable.npy", mmap_mode="r+")
    done = np.load(place / "batches.npy", mmap_mode="r+")

    left = np.flatnonzero(~done)
    mine = left[np.asarray(ranks.share(len(left)), np.int64)]
    ranks.wait()  # until all have seen the same batches left
    order = (mine[:, None] * BATCH_SIZE + np.arange(BATCH_SIZE)).ravel()
    order = order[order < count]
    if progress:
        progress(count - len(order) * ranks.count)
    finished: list[int] = []
    batches = pixel_batches(pictures, order, load_plain(model), skipped=SkippedImages())
    for rows, pixels in batches:
        features = _features(model, pictures, texts, level, rows, pixels)
        for name, values in features.items():
            arrays[name][rows] = values.half().cpu().numpy()
        readable[rows] = True
        finished.append(int(rows[0]) // BATCH_SIZE)
        if len(finished) == _FLUSH_EVERY:
            _mark(done, finished, [*arrays.values(), readable])
            finished.clear()
        if progress:
            progress(len(rows) * ranks.count)  # the others are about as far
    _mark(done, finished, [*arrays.values(), readable])
    ranks.wait()
    return _unreadable(model, pictures, np.flatnonzero(~readable), ranks)


@torch.inference_mode()
def feature_shapes(model: TwoTowerModel, side: str, level: Level) -> dict[str, tuple[int, ...]]:
    """The arrays of a cache and the shape of one picture's part, found by encoding a blank picture."""
    size = model.preprocessing.size
    blank = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=model.device)
    image = model.image_features(blank)
    shapes: dict[str, tuple[int, ...]] = {"features": tuple(image.pooled.shape[1:])}
    if level == "embedding":
        shapes["features"] = (model.config.embedding_dim,)
    elif level == "spatial" and side == "document":
        shapes["spatial"] = tuple(image.spatial.shape[1:])
    return shapes


@torch.inference_mode()
def write_text_features(
    model: TwoTowerModel, texts: list[str], place: Path, width: int, ranks: Ranks
) -> None:
    """Writes ``tokens.npy`` and ``lengths.npy``. Collective."""
    if ranks.is_main:
        place.mkdir(parents=True, exist_ok=True)
        # The file is sparse: what lies behind a text's end takes no room on disk.
        _create(
            place / "tokens.npy",
            np.float16,
            (len(texts), model.config.max_tokens, width),
            sparse=True,
        )
        _create(place / "lengths.npy", np.int64, (len(texts),))
    ranks.wait()
    tokens = np.load(place / "tokens.npy", mmap_mode="r+")
    lengths = np.load(place / "lengths.npy", mmap_mode="r+")
    share = ranks.share(len(texts))
    for rows, features in text_batches(model, texts[share.start : share.stop]):
        rows = rows + share.start
        lengths[rows] = features.mask.sum(dim=1).cpu().numpy()
        tokens[rows, : features.tokens.shape[1]] = features.tokens.half().cpu().numpy()
    tokens.flush()
    lengths.flush()
    ranks.wait()


def _features(
    model: TwoTowerModel,
    pictures: Pictures,
    texts: TextCache | None,
    level: Level,
    rows: NDArray[np.int64],
    pixels: torch.Tensor,
) -> dict[str, torch.Tensor]:
    image = model.image_features(pixels.to(model.device))
    if pictures.side == "query":
        return {
            "features": model.embed_query(image.pooled) if level == "embedding" else image.pooled
        }
    if level == "spatial":
        return {"features": image.pooled, "spatial": image.spatial}
    text = None
    if texts is not None:
        tokens, mask = texts.rows(pictures.rows[rows])
        text = TextFeatures(tokens.to(model.device), mask.to(model.device))
    if level == "pooled":
        return {"features": model.fuse(image, text)}
    return {"features": model.embed_document(image, text)}


def _unreadable(
    model: TwoTowerModel, pictures: Pictures, rows: NDArray[np.int64], ranks: Ranks
) -> SkippedImages:
    """Why pictures cannot be decoded: asked again, as the run that found out may have been killed since."""
    mine = SkippedImages()
    order = rows[np.asarray(ranks.share(len(rows)), np.int64)]
    for _ in pixel_batches(pictures, order, load_plain(model), skipped=mine):
        pass
    everyones = SkippedImages()
    for found in ranks.gather(mine.table().to_pylist()):
        for row in found:
            everyones.add(row["side"], row["key"], row["part"], row["path"], row["reason"])
    return everyones


def _create(
    path: Path, kind: type[np.generic], shape: tuple[int, ...], *, sparse: bool = False
) -> None:
    """An array of zeros on disk, where a killed run has not left one already.

    Raises:
        OclearError: The disk has no room for it. Found out later, the process would die of it without a word.
    """
    if path.is_file():
        return
    with atomic_file(path) as part:
        np.lib.format.open_memmap(part, "w+", kind, shape).flush()
        if sparse or not hasattr(os, "posix_fallocate"):
            return
        size = part.stat().st_size
        try:
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise OclearError(
                f"{path}: no room for {size / 1e9:,.1f} GB ({error.strerror})",
                "Make room, or give --out on a larger disk.",
            ) from error


def _mark(done: NDArray[np.bool_], batches: list[int], arrays: list[NDArray[np.generic]]) -> None:
    """Notes batches as done, only after what they hold is on disk."""
    for array in arrays:
        array.flush()  # type: ignore[attr-defined]
    done[batches] = True
    done.flush()  # type: ignore[attr-defined]
