"""What documents learn from photos: the mean of those that ``categorize`` matched to their ID confidently.

On grocery's val photos one mean beat photos themselves (16 that stand for all) and several means: nothing in it is one
customer's background, light or mistake (docs/results.md).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from oclear.errors import BadImageError, InputError
from oclear.governance import read_samples
from oclear.model import TwoTowerModel
from oclear.model.encode import encode_queries
from oclear.progress import Reporter
from oclear.store.confidence import confidence_file
from oclear.store.photos import (
    LearnedPhotos,
    no_photos,
    photo_means,
    read_photos,
    write_photos,
)
from oclear.tables import Items, Pictures, SkippedImages, index_of, read_queries

SKIPPED_FILE = "skipped_photos.parquet"
# Photos of one ID that are looked at, those of the highest weight: more would hardly move their mean.
_LOOKED_AT = 500
# Items without photos lose what the others win: on emoji 69 % had some, and the rest fell from 0.440 to 0.255.
_ENOUGH = 0.9


class PhotosConfig(BaseModel):
    """What an item learns from the photos of its ID."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_item: int = Field(
        default=1, ge=0, description="vectors: means of as many groups of photos; 0 for none"
    )
    least_weight: float = Field(
        default=0.5, ge=0, le=1, description="belief of categorize that the photo shows its ID"
    )
    evidence: tuple[str, ...] = Field(
        default=("click", "truth"), description="why it is believed; neighbours: by looks alone"
    )


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Photos of IDs: photo i of category ``category[i]``, those of one category together, best first."""

    category: NDArray[np.int64]
    picture: NDArray[np.int64]
    weight: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Means:
    """Vectors of IDs, as those of :class:`~oclear.store.photos.LearnedPhotos`; those of one ID together."""

    category: NDArray[np.int64]
    photos: NDArray[np.int64]
    content_hashes: NDArray[np.object_]
    vectors: NDArray[np.float32]


def learn_photos(
    folder: Path,
    samples: Path,
    queries: Path,
    items: Items,
    model: TwoTowerModel,
    config: PhotosConfig,
    max_bad_images: float,
    reporter: Reporter,
) -> LearnedPhotos:
    """Embeds the photos of every ID and writes their means into the index folder.

    Where nothing has changed since that was done last, nothing is embedded. Items of one ID share them.

    Args:
        folder: The index folder.
        samples: Of ``oclear categorize``; it has photos of the training split only.
        queries: The photos.
        items: The catalogue.
        model: Embeds photos.
        config: How many, and how sure.
        max_bad_images: Share of them that may be bad.
        reporter: Says what happens.

    Raises:
        InputError: A photo of the samples is not among the queries, or too many are bad.
    """
    table, _, _ = read_samples(samples)
    pictures = read_queries(queries).pictures()
    candidates = _candidates(table, pictures, samples, queries, config)
    used, picture = np.unique(candidates.picture, return_inverse=True)
    photos, skipped = pictures.select(used), SkippedImages()
    hashes = _content_hashes(photos)
    owners = _owners(table, items)
    fingerprint = _fingerprint(candidates, owners, hashes[picture], items, config)
    known = read_photos(folder, model.model_id, model.config.embedding_dim)
    if known.fingerprint == fingerprint:
        reporter.say("the photos that documents learned from are as they were")
        return known
    with reporter.task("matched photos", len(photos)) as task:
        readable, embedded = encode_queries(model, photos, skipped, task.advance)
    skipped.check(max(1, len(photos)), max_bad_images)
    vectors = np.zeros((len(photos), model.config.embedding_dim), np.float32)
    vectors[readable] = embedded
    is_readable = np.zeros(len(photos), bool)
    is_readable[readable] = True
    means = _means(candidates, vectors[picture], is_readable[picture], hashes[picture], config)
    item_row, mean = _joined(means.category, owners)
    learned = no_photos(vectors.shape[1], fingerprint)
    if len(item_row):
        learned = LearnedPhotos(
            items.ids[item_row],
            means.photos[mean],
            means.content_hashes[mean],
            means.vectors[mean],
            fingerprint,
        )
    skipped.write(folder / SKIPPED_FILE)
    # What was learned of the scores that documents had before does not hold for those to come.
    confidence_file(folder, model.model_id).unlink(missing_ok=True)
    write_photos(folder, model.model_id, learned)
    taught = len(np.unique(item_row))
    reporter.say(
        f"{taught:,} of {len(items):,} items learn from {len(readable):,} photos "
        f"({len(skipped):,} skipped)"
    )
    if 0 < taught < _ENOUGH * len(items):
        reporter.say(
            f"warning: photos of the {len(items) - taught:,} other items will rather find these: "
            "measure both kinds with evaluate --exposures, or leave --samples out"
        )
    return learned


def _candidates(
    samples: pa.Table, pictures: Pictures, folder: Path, queries: Path, config: PhotosConfig
) -> _Candidates:
    weight = samples["weight"].to_numpy()
    side = samples["side"].to_numpy().astype(str)
    evidence = samples["evidence"].to_numpy().astype(str)
    sure = (side == "query") & (weight >= config.least_weight) & (weight > 0)
    sure &= np.isin(evidence, config.evidence)
    if not config.per_item:
        sure[:] = False
    keys = samples["key"].filter(pa.array(sure))
    picture = index_of(keys, pa.chunked_array([pa.array(pictures.keys, pa.string())]))
    if len(missing := np.flatnonzero(picture < 0)):
        raise InputError(
            f"the photo '{keys[int(missing[0])]}' of {folder} is not in {queries}",
            "Give the queries that 'oclear categorize' was given.",
        )
    category, weight = samples["category_id"].to_numpy()[sure], weight[sure]
    order = np.lexsort((picture, -weight, category))
    starts = np.searchsorted(category[order], category[order])
    order = order[np.arange(len(order)) - starts < _LOOKED_AT]
    return _Candidates(category[order], picture[order], weight[order])


def _owners(samples: pa.Table, items: Items) -> NDArray[np.int64]:
    """(n, 2) pairs of an ID and the row of an item in it, ascending."""
    is_document = samples["side"].to_numpy().astype(str) == "document"
    documents = samples.filter(pa.array(is_document))
    rows = index_of(documents["key"], items.table["item_id"])
    pairs = np.stack([documents["category_id"].to_numpy(), rows], axis=1)
    return np.unique(pairs[rows >= 0], axis=0)


def _means(
    candidates: _Candidates,
    vectors: NDArray[np.float32],
    is_readable: NDArray[np.bool_],
    hashes: NDArray[np.object_],
    config: PhotosConfig,
) -> _Means:
    """The means of every ID's photos."""
    rows = np.flatnonzero(is_readable)
    starts = np.flatnonzero(np.diff(candidates.category[rows], prepend=-1))
    found: list[tuple[int, int, str, NDArray[np.float32]]] = []
    for part in np.split(rows, starts[1:]) if len(rows) else []:
        weights = candidates.weight[part]
        photos = sorted(zip(hashes[part], weights.tolist(), strict=True))
        made_from = f"{min(config.per_item, len(part))} {photos}"
        digest = hashlib.sha256(made_from.encode()).hexdigest()[:32]
        means = photo_means(vectors[part], weights, config.per_item)
        category = int(candidates.category[part[0]])
        found += [(category, len(part), digest, mean) for mean in means]
    return _Means(
        np.array([category for category, *_ in found], np.int64),
        np.array([count for _, count, *_ in found], np.int64),
        np.array([digest for *_, digest, _ in found], object),
        np.array([mean for *_, mean in found], np.float32),
    )


def _joined(
    category: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Item rows and means: every item of an ID with every mean of it, in their order."""
    first, last = (np.searchsorted(category, owners[:, 0], side) for side in ("left", "right"))
    counts = last - first
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(owners[:, 1], counts), np.repeat(first, counts) + place


def _content_hashes(photos: Pictures) -> NDArray[np.object_]:
    """Of each photo's file and box."""

    def of(i: int) -> str:
        box = "" if photos.boxes is None else f" {photos.boxes[photos.rows[i]].tolist()}"
        try:
            return photos.content_hash(i) + box
        except BadImageError as error:
            return f"unreadable: {error.reason}"

    return np.array([of(i) for i in range(len(photos))], object)


def _fingerprint(
    candidates: _Candidates,
    owners: NDArray[np.int64],
    hashes: NDArray[np.object_],
    items: Items,
    config: PhotosConfig,
) -> str:
    """Hash of all that the choice depends on, 16 hex digits."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    for values in (candidates.category, candidates.weight, owners[:, 0]):
        digest.update(np.ascontiguousarray(values).tobytes())
    digest.update("\0".join([*hashes.tolist(), *items.ids[owners[:, 1]].tolist()]).encode())
    return digest.hexdigest()[:16]
