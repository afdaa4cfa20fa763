"""Vectors of pictures on disk, with the name of the encoder that made them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oclear.errors import FormatError, InputError
from oclear.tables.checks import index_of
from oclear.tables.pictures import Pictures
from oclear.tables.write import write_table

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Features:
    """One vector a picture.

    Args:
        keys: (n,) item or query ids.
        sides: (n,) ``query`` or ``document``.
        parts: (n,) int32, the number of the picture within its item or query.
        vectors: (n, d) float16.
        manifest: ``encoder`` (its fingerprint), and whatever else the writer adds.
    """

    keys: NDArray[np.object_]
    sides: NDArray[np.object_]
    parts: NDArray[np.int32]
    vectors: NDArray[np.float16]
    manifest: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of vectors."""
        return len(self.keys)

    def rows_of(self, pictures: Pictures) -> NDArray[np.int64]:
        """(len(pictures),) the row of each picture's vector, -1 where it has none."""
        ours = _names(pa.array(self.sides), pa.array(self.keys, pa.string()), self.parts)
        sides = pa.repeat(pictures.side, len(pictures))
        keys = pictures.row_keys.take(pa.array(pictures.rows)).combine_chunks()
        return index_of(_names(sides, keys, pictures.parts), ours)


def write_features(folder: Path, features: Features) -> None:
    """Writes ``features.parquet`` and ``manifest.json`` into ``folder``, which must be there."""
    count, dim = features.vectors.shape
    values = pa.array(np.ascontiguousarray(features.vectors, np.float16).ravel())
    table = pa.table(
        {
            "key": pa.array(features.keys, pa.string()),
            "side": pa.array(features.sides, pa.string()),
            "part": pa.array(features.parts, pa.int32()),
            "vector": pa.FixedSizeListArray.from_arrays(values, dim),
        }
    )
    write_table(table, folder / "features.parquet")
    manifest = {**features.manifest, "format_version": FORMAT_VERSION, "dim": dim, "count": count}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def read_features(folder: Path) -> Features:
    """Reads what :func:`write_features` wrote.

    Raises:
        InputError: No features in ``folder``.
        FormatError: Of another format version, or a vector table that does not fit the manifest.
    """
    file, described = folder / "features.parquet", folder / "manifest.json"
    if not file.is_file() or not described.is_file():
        raise InputError(f"{folder}: no features", "Expected features.parquet and manifest.json.")
    try:
        manifest = json.loads(described.read_text(encoding="utf-8"))
        version = manifest.get("format_version")
        if version != FORMAT_VERSION or "encoder" not in manifest:
            raise FormatError(
                f"{described}: format version {version} of features, this program reads {FORMAT_VERSION}",
                "Make the features again with oclear embed.",
            )
        table = pq.ParquetFile(file).read()
        vectors = _vectors(table["vector"], int(manifest["dim"]))
    except (ValueError, TypeError, KeyError, AttributeError, pa.ArrowException, OSError) as error:
        raise FormatError(f"{folder}: damaged features ({error})") from error
    return Features(
        table["key"].to_numpy(),
        table["side"].to_numpy(),
        table["part"].to_numpy().astype(np.int32),
        vectors,
        manifest,
    )


def _vectors(column: pa.ChunkedArray, dim: int) -> NDArray[np.float16]:
    """(n, dim) float16, without a copy where the column is one chunk."""
    if column.type.list_size != dim or column.null_count:
        raise ValueError(f"vectors of {column.type.list_size} numbers, expected {dim}")
    chunks: list[NDArray[np.float16]] = [
        chunk.flatten().to_numpy().reshape(-1, dim) for chunk in column.chunks
    ]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate([np.empty((0, dim), np.float16), *chunks])


def _names(sides: pa.Array, keys: pa.Array, parts: NDArray[np.int32]) -> pa.ChunkedArray:
    """One string for side, part and key, which tells pictures apart."""
    numbers = pa.array(parts).cast(pa.string())
    joined = pc.binary_join_element_wise(sides.cast(pa.string()), numbers, keys, "/")
    return pa.chunked_array([joined])
