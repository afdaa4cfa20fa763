"""What ``oclear index`` and ``oclear store add`` share: which items changed, and their vectors."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from oclear.commands.shared.learned_photos import PhotosConfig
from oclear.errors import BadImageError, InputError, ModelMismatchError
from oclear.model import TwoTowerModel
from oclear.model.encode import encode_documents
from oclear.progress import Reporter
from oclear.store import DocumentStore, columns_not_kept
from oclear.store.photos import LearnedPhotos, read_photos
from oclear.tables import Features, Items, SkippedImages, read_features

SKIPPED_FILE = "skipped.parquet"


class IndexConfig(BaseModel):
    """Configuration of ``oclear index`` and ``oclear store add``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_items: int = Field(default=2000, ge=1, description="items between two saved states")
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")
    photos: PhotosConfig = PhotosConfig()


def bring_up_to_date(
    target: DocumentStore,
    folder: Path,
    items: Items,
    model: TwoTowerModel,
    given: Features | None,
    config: IndexConfig,
    reporter: Reporter,
    *,
    others_stay: bool = False,
) -> tuple[int, SkippedImages]:
    """Stores these items: encodes those that are new or changed, and sets the attributes of the others.

    What is stored is committed batch by batch, so a killed run goes on where it was. Items get the photos that the
    folder has for them, beside their own pictures.

    Args:
        target: The index; items that are not in the table stay as they are.
        folder: The index folder, for the photos and the list of skipped pictures.
        items: The table.
        model: The one that made the index.
        given: Vectors of its pictures; nothing is encoded then.
        config: Batch size and limits.
        reporter: Says what happens.
        others_stay: Whether the index may hold items beside these, whose skipped pictures stay listed.

    Returns:
        How many items were encoded, and the pictures that are skipped.

    Raises:
        InputError: Too many pictures are bad, or an attribute is of another type than in the index.
    """
    photos = read_photos(folder, model.model_id, model.config.embedding_dim)
    changed, hashes = _changes(target, items, model, photos)
    reporter.say(f"{len(changed):,} of {len(items):,} items are new or changed")
    if added := columns_not_kept(target, items.table.schema):
        reporter.say(
            f"columns that the index was made without are not kept: {', '.join(added)} "
            "(make it anew with --overwrite to filter by them)"
        )
    unchanged = np.setdiff1d(np.arange(len(items)), changed)
    looked_at = set(items.ids[changed].tolist())
    listed = None if others_stay else set(items.ids[unchanged].tolist())
    skipped = _still_skipped(folder, looked_at, listed)
    encoded = 0
    if given is not None:
        _store_given(target, items, hashes, given, photos, config)
    else:
        encoded = _encode(
            target, folder, items, changed, hashes, model, photos, config, skipped, reporter
        )
    target.update_attributes(items.select(unchanged).table)
    skipped.write(folder / SKIPPED_FILE)
    return encoded, skipped


def read_given(folder: Path | None, model: TwoTowerModel, items: Items) -> Features | None:
    """Vectors made elsewhere by this very model.

    Raises:
        ModelMismatchError: Another model made them.
        InputError: None of them belongs to these items.
    """
    if folder is None:
        return None
    given = read_features(folder)
    if given.manifest.get("encoder") != model.model_id:
        raise ModelMismatchError(
            f"{folder}: these vectors were made by {given.manifest.get('encoder')}, not by model {model.model_id}",
            "Make them with 'oclear embed --model' and the same model.",
        )
    if not (given.rows_of(items.pictures()) >= 0).any():
        raise InputError(
            f"{folder}: has no vector of any picture of {items.path}",
            "Give the vectors of these very items.",
        )
    return given


def _changes(
    target: DocumentStore, items: Items, model: TwoTowerModel, photos: LearnedPhotos
) -> tuple[NDArray[np.int64], list[str]]:
    """The rows of items to encode, and the content hash of every item: of its text, its pictures and its photos."""
    pictures = items.pictures()

    def picture_hash(i: int) -> str:
        try:
            return pictures.content_hash(i)
        except BadImageError as error:
            return f"unreadable: {error.reason}"

    with ThreadPoolExecutor() as pool:
        of_pictures = list(pool.map(picture_hash, range(len(pictures)), chunksize=64))
    digests = [
        hashlib.sha256(text.encode())
        for text in items.texts(model.text_columns_of(items.table.column_names))
    ]
    for row, found in zip(pictures.rows.tolist(), of_pictures, strict=True):
        digests[row].update(found.encode())
    learned = photos.rows_of(items.table["item_id"])
    for row, found in zip(learned.item_row.tolist(), learned.content_hashes, strict=True):
        digests[row].update(f"photo {found}".encode())
    hashes = [digest.hexdigest()[:32] for digest in digests]
    stored = target.content_hashes()
    changed = [
        row
        for row, (item, found) in enumerate(zip(items.ids.tolist(), hashes, strict=True))
        if stored.get(item) != found
    ]
    return np.array(changed, np.int64), hashes


def _encode(
    target: DocumentStore,
    folder: Path,
    items: Items,
    changed: NDArray[np.int64],
    hashes: list[str],
    model: TwoTowerModel,
    photos: LearnedPhotos,
    config: IndexConfig,
    skipped: SkippedImages,
    reporter: Reporter,
) -> int:
    """Encodes the changed items; returns how many of them have a picture that can be read."""
    encoded, total = 0, len(items.pictures())
    with reporter.task("documents", len(changed)) as task:
        for start in range(0, len(changed), config.batch_items):
            rows = changed[start : start + config.batch_items]
            batch = items.select(rows)
            pictures = batch.pictures()
            readable, vectors = encode_documents(model, batch, skipped)
            skipped.check(total, config.max_bad_images)
            skipped.write(folder / SKIPPED_FILE)
            _upsert(target, batch, readable, vectors, photos, [hashes[row] for row in rows])
            encoded += len(np.unique(pictures.rows[readable]))
            task.advance(len(rows))
    return encoded


def _store_given(
    target: DocumentStore,
    items: Items,
    hashes: list[str],
    given: Features,
    photos: LearnedPhotos,
    config: IndexConfig,
) -> None:
    for start in range(0, len(items), config.batch_items):
        rows = np.arange(start, min(start + config.batch_items, len(items)))
        batch = items.select(rows)
        at = given.rows_of(batch.pictures())
        has = np.flatnonzero(at >= 0)
        vectors = given.vectors[at[has]].astype(np.float32)
        _upsert(target, batch, has, vectors, photos, [hashes[row] for row in rows])


def _upsert(
    target: DocumentStore,
    items: Items,
    pictures: NDArray[np.int64],
    vectors: NDArray[np.float32],
    photos: LearnedPhotos,
    hashes: list[str],
) -> None:
    """Stores the vectors of some of the items' pictures, and the photos of the items that have such a picture."""
    own = items.pictures().select(pictures)
    learned = photos.rows_of(items.table["item_id"])
    shown = np.isin(learned.item_row, own.rows)
    target.upsert(
        items.table,
        item_row=np.concatenate([own.rows, learned.item_row[shown]]),
        parts=np.concatenate([own.parts, learned.parts[shown]]),
        vectors=np.concatenate([vectors, learned.vectors[shown]]),
        content_hashes=hashes,
    )


def _still_skipped(folder: Path, looked_at: set[str], listed: set[str] | None) -> SkippedImages:
    """What earlier runs had to skip of items that are not looked at again and, where given, are listed."""
    skipped = SkippedImages()
    if (folder / SKIPPED_FILE).is_file():
        for row in SkippedImages.read(folder / SKIPPED_FILE).table().to_pylist():
            if row["key"] not in looked_at and (listed is None or row["key"] in listed):
                skipped.add(**row)
    return skipped
