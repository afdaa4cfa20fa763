"""Vectors of photos that were matched to items, so that documents are found by what customers' photos look like.

The file lies beside the store and is where they come from: whatever writes an item into the index takes its photos
from here, so a changed item keeps them. In the store they are further rows of the item, with parts below zero.
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
_COLUMNS = ("item_id", "query_id", "content_hash", "vector")


class PhotoRows(NamedTuple):
    """Photos of some items, as rows for :meth:`~oclear.store.contract.DocumentStore.upsert`.

    Attributes:
        item_row: ``(n,)`` int64, the row of the items.
        parts: ``(n,)`` int32, -1 for an item's first photo, -2 for its second ...
        vectors: ``(n, dim)`` float32.
        content_hashes: ``(n,)`` of the photos' files.
    """

    item_row: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int32]
    vectors: npt.NDArray[np.float32]
    content_hashes: npt.NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class LearnedPhotos:
    """The photos that stand for items, those of one item together and the most telling first.

    Args:
        item_ids: ``(n,)`` str objects.
        query_ids: ``(n,)`` str objects: which photo.
        content_hashes: ``(n,)`` str objects, of the photos' files.
        vectors: ``(n, dim)`` float32 of length 1, from the query side of the model.
        fingerprint: Of all that they were chosen from and by.
    """

    item_ids: npt.NDArray[np.object_]
    query_ids: npt.NDArray[np.object_]
    content_hashes: npt.NDArray[np.object_]
    vectors: npt.NDArray[np.float32]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.item_ids)

    def rows_of(self, item_ids: pa.ChunkedArray) -> PhotoRows:
        """The photos of these items."""
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
    return LearnedPhotos(nothing, nothing, nothing, np.empty((0, dim), np.float32), fingerprint)


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
            "query_id": pa.array(photos.query_ids, pa.string()),
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


def representatives(
    vectors: npt.NDArray[np.float32], weights: npt.NDArray[np.float32], count: int
) -> npt.NDArray[np.int64]:
    """The photos that stand best for all: each further one raises the nearness of all to the nearest chosen most.

    Greedy facility location (Nemhauser, Wolsey and Fisher 1978: at least 63 % of the best possible). A photo
    that nothing resembles, as one with a wrong label, comes last; and a smaller count is a prefix of a larger one.

    Args:
        vectors: ``(n, dim)`` of length 1.
        weights: ``(n,)``, how much each counts; above 0.
        count: How many to choose at most.

    Returns:
        Indices, the most telling first; of equals the first.

    Example:
        >>> angles = np.radians([0, 1, 2, 88, 90])
        >>> vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        >>> representatives(vectors, np.ones(5, np.float32), 2).tolist()
        [2, 3]
    """
    nearness = 1 + vectors @ vectors.T
    covered = np.zeros(len(vectors), np.float32)
    chosen: list[int] = []
    for _ in range(min(count, len(vectors))):
        gain = np.maximum(nearness - covered, 0) @ weights
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        covered = np.maximum(covered, nearness[chosen[-1]])
    return np.array(chosen, np.int64)
