"""The eye of governance: vectors of pictures and texts by a trained model or a bare encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.commands.shared.device import place
from oclear.errors import InputError, ModelMismatchError
from oclear.governance import Looks, normalized
from oclear.model import ModelConfig, TwoTowerModel
from oclear.model.pretrained import PACKAGED_IMAGE_ENCODERS
from oclear.progress import Reporter
from oclear.tables import (
    Features,
    Items,
    Pictures,
    Queries,
    SkippedImages,
    read_features,
    write_features,
)
from oclear.training.cached_features import PictureCache, TextCache
from oclear.training.feature_cache import cache_pictures, cache_texts


@dataclass(frozen=True, eq=False)
class Eye:
    """What looks are judged by.

    Args:
        model: A trained model, or new heads on a bare encoder.
        is_trained: Which of the two. New heads start from the principal directions of the pictures they see.
    """

    model: TwoTowerModel
    is_trained: bool


def open_eye(name: str | None, config: ModelConfig) -> Eye:
    """Opens ``--model``: a model folder, the hub id of one, or the name of an encoder; else the configured encoder."""
    if name is None or name in PACKAGED_IMAGE_ENCODERS:
        torch.manual_seed(0)
        # Evidence comes from texts too, also where the model that is trained reads none.
        given = {"fusion": "concept"} if config.fusion == "image" else {}
        settings = config.model_copy(update=given | ({"image_encoder": name} if name else {}))
        return Eye(place(TwoTowerModel.from_encoders(settings)).eval(), is_trained=False)
    if not Path(name).exists() and name.count("/") != 1:
        raise InputError(
            f"--model {name}: neither a model folder nor a known encoder",
            f"Give the output folder of 'oclear train', or one of: {', '.join(PACKAGED_IMAGE_ENCODERS)}.",
        )
    return Eye(place(TwoTowerModel.from_pretrained(name)), is_trained=True)


def compute_features(
    eye: Eye,
    items: Items | None,
    queries: Queries | None,
    cache: Path,
    skipped: SkippedImages,
    reporter: Reporter,
) -> tuple[Features, Features | None]:
    """Vectors of all readable pictures, and of the items' texts (None without text).

    Args:
        eye: Looks.
        items: Whose pictures and texts to embed, or None.
        queries: Whose photos to embed, or None.
        cache: Folder of cached encoder output.
        skipped: Collects pictures that cannot be decoded.
        reporter: Shows progress.
    """
    model = eye.model
    text_columns = () if items is None else model.text_columns_of(items.table.column_names)
    texts = None
    if items is not None and text_columns:
        texts = cache_texts(model, items.texts(text_columns), cache)
    sides = [table.pictures() for table in (queries, items) if table is not None]
    caches = []
    for pictures in sides:
        with reporter.task(f"{pictures.side} pictures", len(pictures)) as task:
            cached = cache_pictures(
                model,
                pictures,
                texts if eye.is_trained else None,
                cache,
                level="embedding"
                if eye.is_trained
                else ("spatial" if pictures.side == "query" else "pooled"),
                skipped=skipped,
                progress=task.advance,
            )
        caches.append(cached)
    vectors = _embedded(eye, sides, caches)
    manifest = {"encoder": model.model_id, "model": model.config.image_encoder}
    rows = [np.flatnonzero(cached.readable) for cached in caches]
    picture_features = Features(
        np.concatenate([side.keys[r] for side, r in zip(sides, rows, strict=True)]),
        np.concatenate([np.full(len(r), s.side, object) for s, r in zip(sides, rows, strict=True)]),
        np.concatenate([side.parts[r] for side, r in zip(sides, rows, strict=True)]),
        np.concatenate([v[r] for v, r in zip(vectors, rows, strict=True)]).astype(np.float16),
        manifest,
    )
    text_features = None
    if texts is not None and items is not None:
        text_features = _text_features(items, texts, manifest)
    return picture_features, text_features


def _embedded(
    eye: Eye, sides: list[Pictures], caches: list[PictureCache]
) -> list[NDArray[np.float16]]:
    if eye.is_trained:
        return [cached.features for cached in caches]
    features = [
        torch.from_numpy(np.asarray(cached.features[_in_key_order(side, cached)], np.float32))
        for side, cached in zip(sides, caches, strict=True)
    ]
    if any(len(part) == 0 for part in features):
        side = sides[[len(part) for part in features].index(0)]
        raise InputError(
            f"{side.path}: not one of its {len(side)} pictures can be read",
            "Look at the paths in the image column; they are relative to the table.",
        )
    # With one side only, it stands in for the other.
    eye.model.heads.fit_start(_evenly(features[0]), _evenly(features[-1]))
    vectors = []
    with torch.inference_mode():
        for side, cached in zip(sides, caches, strict=True):
            pooled = torch.from_numpy(np.asarray(cached.features, np.float32))
            head = eye.model.heads(pooled.to(eye.model.device), side.side)
            vectors.append(torch.nn.functional.normalize(head, dim=1).half().cpu().numpy())
    return vectors


def _in_key_order(side: Pictures, cached: PictureCache) -> NDArray[np.int64]:
    """Rows of readable pictures by key and part: sums depend on their order, and IDs must not on that of the table."""
    rows = np.flatnonzero(cached.readable)
    return rows[np.lexsort((side.parts[rows], side.keys[rows].astype(str)))]


def _evenly(features: torch.Tensor, most: int = 50_000) -> torch.Tensor:
    """Some of many rows, evenly chosen: enough for means and directions."""
    return features[:: max(1, len(features) // most)]


def _text_features(items: Items, texts: TextCache, manifest: dict[str, str]) -> Features:
    """One vector a text: the mean of its tokens."""
    means = np.stack(
        [
            texts.tokens[i, : max(1, length)].astype(np.float32).mean(axis=0)
            for i, length in enumerate(texts.lengths)
        ]
    )
    has_text = texts.lengths > 0
    count = int(has_text.sum())
    return Features(
        items.ids[has_text],
        np.full(count, "document", object),
        np.zeros(count, np.int32),
        means[has_text].astype(np.float16),
        manifest,
    )


def write_eye_features(folder: Path, features: tuple[Features, Features | None]) -> None:
    """Writes a features folder, with ``texts/`` in it where there are texts."""
    write_features(folder, features[0])
    if features[1] is not None:
        (folder / "texts").mkdir()
        write_features(folder / "texts", features[1])


def read_eye_features(folder: Path) -> tuple[Features, Features | None]:
    """Reads what :func:`write_eye_features` wrote."""
    texts = folder / "texts"
    return read_features(folder), read_features(texts) if texts.is_dir() else None


def looks_of(
    features: tuple[Features, Features | None], items: Items, queries: Queries, source: str
) -> Looks:
    """One vector an item (the mean of its pictures), a query and a text.

    Raises:
        ModelMismatchError: The features have no vector of any item.
    """
    pictures, texts = features
    documents = items.pictures()
    item_vectors = np.zeros((len(items), pictures.vectors.shape[1]), np.float32)
    rows = pictures.rows_of(documents)
    has = rows >= 0
    if len(items) and not has.any():
        raise ModelMismatchError(
            f"{source}: has no vector of any picture of {items.path}",
            "Give the features of these very items, made by 'oclear embed'.",
        )
    np.add.at(item_vectors, documents.rows[has], pictures.vectors[rows[has]].astype(np.float32))
    photo_rows = pictures.rows_of(queries.pictures())
    if len(queries) and not (photo_rows >= 0).any():
        raise ModelMismatchError(
            f"{source}: has no vector of any training photo of {queries.path}",
            "Embed items and queries in one run: oclear embed --items ... --queries ...",
        )
    query_vectors = np.where(
        (photo_rows >= 0)[:, None], pictures.vectors[photo_rows].astype(np.float32), 0
    )
    text_vectors = None
    if texts is not None:
        text_vectors = np.zeros((len(items), texts.vectors.shape[1]), np.float32)
        place = {key: row for row, key in enumerate(texts.keys.tolist())}
        found = np.array([place.get(key, -1) for key in items.ids.tolist()])
        known = found >= 0
        means = texts.vectors[found[known]].astype(np.float32)
        text_vectors[known] = means - means.mean(axis=0, dtype=np.float64)
        text_vectors = normalized(text_vectors)
    return Looks(normalized(item_vectors), normalized(query_vectors), text_vectors)
