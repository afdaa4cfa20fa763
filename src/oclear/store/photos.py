"""Means of photos that were matched to items, so that documents are found by what customers' photos look like.

The file lies beside the store and is where they come from: whatever writes an item into the index takes them from
here, so a changed item keeps them. In the store they are further rows of the item, with parts below zero.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from oclear.errors import FormatError
from oclear.tables import index_of, write_table

FORMAT_VERSION = 1
_COLUMNS = ("item_id", "photos", "content_hash", "vector")
_ROUNDS = 20
_LEAST_LENGTH = 1e-6


class PhotoRows(NamedTuple):
    """What some items learned from photos, as rows for :meth:`~oclear.store.contract.DocumentStore.upsert`.

    Attributes:
        item_row: ``(n,)`` int64, the row of the items.
        parts: ``(n,)`` int32, -1 for an item's first vector, -2 for its second ...
        vectors: ``(n, dim)`` float32.
        content_hashes: ``(n,)`` of what they were made from.
    """

    item_row: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.float32]
    content_hashes: npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class LearnedPhotos:
    """Means of photos that stand for items, those of one item together and that of most photos first.

    Args:
        item_ids: ``(n,)`` str objects.
        photos: ``(n,)`` int64, how many photos of its ID an item learned from, in all.
        content_hashes: ``(n,)`` str objects, of what they were made from.
        vectors: ``(n, dim)`` float32 of length 1, from the query side of the model.
        fingerprint: Of all that they were made from and by.
    """

    item_ids: npt.NDArray[np.object_]
    photos: npt.NDArray[np.int64]
    content_hashes: npt.NDArray[np.object_]
    vectors: npt.NDArray[np.float32]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.item_ids)

    def rows_of(self, item_ids: pa.ChunkedArray) -> PhotoRows:
        """The vectors of these items."""
        ours = pa.chunked_array([pa.array(self.item_ids, pa.string())])
        item_row = index_of(ours, item_ids)
        chosen = np.flatnonzero(item_row >= 0)
        starts = np.flatnonzero(np.append(True, item_row[chosen][1:] != item_row[chosen][:-1]))
        counts = np.diff(np.append(starts, len(chosen)))
        place = np.arange(len(chosen)) - np.repeat(starts[: len(counts)], counts)
        return PhotoRows(
            item_row[chosen],
            (-1 - place).astype(np.int32),
            self.vectors[chosen],
            self.content_hashes[chosen],
        )


def no_photos(dim: int, fingerprint: str = "") -> LearnedPhotos:
    """What an index has whose documents learned from no photos."""
    nothing = np.empty(0, object)
    counts, vectors = np.empty(0, np.int64), np.empty((0, dim), np.float32)
    return LearnedPhotos(nothing, counts, nothing, vectors, fingerprint)


def photos_file(folder: Path, model_id: str) -> Path:
    """Where an index folder keeps the photos of a model's documents."""
    return folder / f"photos-{model_id}.parquet"


def write_photos(folder: Path, model_id: str, photos: LearnedPhotos) -> None:
    """Write the photos of a model's documents, all or nothing; those of before are replaced."""
    flat = pa.array(np.ascontiguousarray(photos.vectors, np.float32).ravel())
    described = {
        "format_version": FORMAT_VERSION,
        "model_id": model_id,
        "fingerprint": photos.fingerprint,
    }
    table = pa.table(
        {
            "item_id": pa.array(photos.item_ids, pa.string()),
            "photos": pa.array(photos.photos, pa.int64()),
            "content_hash": pa.array(photos.content_hashes, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, photos.vectors.shape[1]),
        }
    )
    described_table = table.replace_schema_metadata({"photos": json.dumps(described)})
    write_table(described_table, photos_file(folder, model_id))


def read_photos(folder: Path, model_id: str, dim: int) -> LearnedPhotos:
    """The photos that a model's documents learned from; none where there is no file.

    Raises:
        FormatError: The file is damaged, of another model, or of another format version.
    """
    path = photos_file(folder, model_id)
    if not path.is_file():
        return no_photos(dim)
    hint = "Choose the photos again: oclear index --samples, or remove the file."
    try:
        table = pq.ParquetFile(path).read()
        described = json.loads((table.schema.metadata or {})[b"photos"])
        version = described["format_version"]
        if version != FORMAT_VERSION or described["model_id"] != model_id:
            raise FormatError(
                f"{path}: found photos of format version {version!r} and model {described['model_id']}, "
                f"expected {FORMAT_VERSION} and {model_id}",
                hint,
            )
        *columns, vector = (table[name].combine_chunks() for name in _COLUMNS)
        vectors = vector.flatten().to_numpy().reshape(-1, dim)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: damaged ({str(error).splitlines()[0]:.120})", hint) from error
    names = [column.to_numpy(zero_copy_only=False) for column in columns]
    return LearnedPhotos(names[0], names[1], names[2], vectors, str(described["fingerprint"]))


def photo_means(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], count: int
) -> npt.NDArray[np.float32]:
    """Vectors that stand for photos: the means of as many groups (spherical k-means), the largest group first.

    Args:
        vectors: ``(n, dim)`` of length 1, at least one.
        weights: ``(n,)``, how much each counts; above 0.
        count: How many groups at most.

    Returns:
        ``(min(n, count), dim)`` float32 of length 1; fewer where groups stay empty.

    Example:
        >>> angles = np.radians([0, 2, 4, 89, 91])
        >>> vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        >>> photo_means(vectors, np.ones(5, np.float32), 2).round(1).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    group = np.zeros(len(vectors), np.int64)
    if count > 1 and len(vectors) > 1:
        import faiss

        kmeans = faiss.Kmeans(
            vectors.shape[1],
            min(count, len(vectors)),
            niter=_ROUNDS,
            spherical=True,
            seed=0,
            min_points_per_centroid=1,
        )
        kmeans.train(vectors, weights=weights)
        group = kmeans.index.search(vectors, 1)[1][:, 0]
    sums = np.zeros((int(group.max()) + 1, vectors.shape[1]), np.float64)
    np.add.at(sums, group, vectors * weights[:, None])
    length = np.linalg.norm(sums, axis=1)
    # A group without photos, or whose photos point everywhere, stands for nothing.
    kept = np.flatnonzero(length > _LEAST_LENGTH)
    size = np.bincount(group, weights, minlength=len(sums))[kept]
    order = kept[np.argsort(-size, kind="stable")]
    return np.asarray(sums[order] / length[order, None], np.float32)
