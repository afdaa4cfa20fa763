"""What frozen parts of the model give: computed once, kept in a folder named after all it depends on."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from oclear.errors import OclearError
from oclear.model import TwoTowerModel
from oclear.model.encode import Progress
from oclear.model.state_hash import state_hash
from oclear.output import atomic_file
from oclear.tables import Pictures, SkippedImages
from oclear.training.cache_writing import (
    feature_shapes,
    write_picture_features,
    write_text_features,
)
from oclear.training.cached_features import Level, PictureCache, TextCache
from oclear.training.ranks import Ranks

_FROZEN_PARTS = {
    "spatial": ("image_encoder.",),
    "pooled": ("image_encoder.", "text_encoder.", "concept.", "fusion."),
    "embedding": ("",),
}


def weights_fingerprint(model: TwoTowerModel, level: Level) -> str:
    """Hash of the preprocessing and of the weights that are frozen at a level, 16 hex digits."""
    preprocessing = model.preprocessing.model_dump_json()
    weights = state_hash(model, _FROZEN_PARTS[level])
    return hashlib.sha256(f"{preprocessing} {weights}".encode()).hexdigest()[:16]


def cache_pictures(
    model: TwoTowerModel,
    pictures: Pictures,
    texts: TextCache | None,
    folder: Path,
    *,
    level: Level,
    skipped: SkippedImages,
    progress: Progress | None = None,
    ranks: Ranks | None = None,
) -> PictureCache:
    """Opens the cached features of pictures, computing them first where they are not there yet. Collective.

    Args:
        model: Its frozen parts are applied.
        pictures: Of one side.
        texts: Of the items, for documents.
        folder: Where caches are kept; each has a folder named after weights and pictures.
        level: What is frozen.
        skipped: Collects the pictures that cannot be decoded.
        progress: Called with the number of pictures done.
        ranks: Who computes; they all see ``folder``.
    """
    ranks = ranks or Ranks()
    # Every picture's file is looked at: by one rank, as they may all share one slow folder.
    fused = texts if level != "spatial" else None
    identity = ranks.from_main(_identity(model, pictures, fused) if ranks.is_main else "")
    place = folder / f"{pictures.side}-{level}-{weights_fingerprint(model, level)}-{identity}"
    done = place / "done.json"
    if not ranks.from_main(done.is_file()):
        bad = write_picture_features(model, pictures, texts, place, level, ranks, progress)
        _finish(done, bad.table().to_pylist(), ranks)
    elif progress:
        progress(len(pictures))
    for row in json.loads(done.read_text()):
        skipped.add(row["side"], row["key"], row["part"], row["path"], row["reason"])
    has_spatial = (place / "spatial.npy").is_file()
    return PictureCache(
        np.load(place / "features.npy", mmap_mode="r"),
        np.load(place / "spatial.npy", mmap_mode="r") if has_spatial else None,
        np.load(place / "readable.npy"),
    )


def refuse_too_large(model: TwoTowerModel, documents: int, folder: Path) -> None:
    """Refuses spatial maps of more documents than the disk has room for, before any is computed.

    Raises:
        OclearError: They need more than nine tenths of what is free.
    """
    shape = feature_shapes(model, "document", "spatial")["spatial"]
    needed = 2 * math.prod(shape) * documents
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        raise OclearError(
            f"{folder}: spatial maps of {documents:,} documents need {needed / 1e9:,.1f} GB, "
            f"{free / 1e9:,.1f} GB are free",
            "Train 'heads' instead of 'fusion' in the frozen stages: pooled features are some fifty times smaller.",
        )


def _identity(model: TwoTowerModel, pictures: Pictures, texts: TextCache | None) -> str:
    """Hash of all that features depend on beside weights: which pictures, as they are now, and the texts fused in."""
    digest = hashlib.sha256(f"{model.config.side_strength!r}{model.config.arms or ''}".encode())
    for i in range(len(pictures)):
        digest.update(f"{pictures.keys[i]}/{pictures.parts[i]}:{pictures.stamp(i)}\n".encode())
    if pictures.boxes is not None:
        digest.update(pictures.boxes[pictures.rows].tobytes())
    if texts is not None:
        digest.update(texts.identity.encode())
    return digest.hexdigest()[:16]


def cache_texts(
    model: TwoTowerModel, texts: list[str], folder: Path, ranks: Ranks | None = None
) -> TextCache | None:
    """Opens the cached token features of texts, computing them first where they are not there yet."""
    ranks = ranks or Ranks()
    if model.text_encoder is None:
        return None
    digest = hashlib.sha256("\n".join(texts).encode())
    digest.update(f"{model.config.max_tokens} {state_hash(model.text_encoder)}".encode())
    identity = digest.hexdigest()[:16]
    place = folder / f"texts-{identity}"
    done = place / "done.json"
    if not ranks.from_main(done.is_file()):
        write_text_features(model, texts, place, model.text_encoder.width, ranks)
        _finish(done, [], ranks)
    tokens = np.load(place / "tokens.npy", mmap_mode="r")
    return TextCache(tokens, np.load(place / "lengths.npy"), identity)


def _finish(done: Path, skipped: list[dict[str, Any]], ranks: Ranks) -> None:
    if ranks.is_main:
        with atomic_file(done) as file:
            file.write_text(json.dumps(skipped))
    ranks.wait()
