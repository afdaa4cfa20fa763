"""What may be wrong with an index, found by reading all of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oclear.store.columns import CONTENT_HASH, ITEM_ID, PART, VECTOR
from oclear.store.index import Index
from oclear.store.memory import MemoryIndex

_READ_AT_ONCE = 50_000
_SAMPLE = 32
_WANTED = 10
# What searches in memory must find of what exact ones do.
_AGREEMENT = 0.95


def find_faults(index: Index) -> list[str]:
    """Read and check every row, then compare searches of stored vectors in memory with exact ones.

    Args:
        index: The index, which nobody writes to meanwhile.

    Returns:
        What is wrong, one line each; empty where nothing is.
    """
    try:
        keys, faults, sample = _read(index)
    except (OSError, RuntimeError, ValueError) as error:
        return [f"a row cannot be read: {str(error).splitlines()[0]:.200}"]
    expected = index.count_vectors()
    if len(keys) != expected:
        faults.append(f"found {len(keys):,} rows, expected {expected:,} as the table counts them")
    faults += _key_faults(keys)
    return faults or _search_faults(index, sample)


def _read(
    index: Index,
) -> tuple[pa.Table, list[str], npt.NDArray[np.float32]]:
    keys: list[pa.RecordBatch] = []
    faults: list[str] = []
    sample: list[npt.NDArray[np.float32]] = []
    for batch in index.batches(_READ_AT_ONCE):
        keys.append(batch.select([ITEM_ID, PART, CONTENT_HASH]))
        flat = batch.column(VECTOR).flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(-1, index.dim)
        length = np.linalg.norm(vectors.astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.abs(length - 1) < 1e-3))
        if len(wrong):
            row = {name: batch.column(name)[int(wrong[0])].as_py() for name in (ITEM_ID, PART)}
            faults.append(
                f"item {row[ITEM_ID]!r}, part {row[PART]}: found a vector of length "
                f"{length[wrong[0]]:.4g}, expected 1 ({len(wrong):,} such rows near it)"
            )
        sample.append(vectors[: max(1, _SAMPLE // (len(sample) + 1))].copy())
    schema = pa.schema([index.schema.field(name) for name in (ITEM_ID, PART, CONTENT_HASH)])
    stacked = np.concatenate(sample) if sample else np.empty((0, index.dim), np.float32)
    return pa.Table.from_batches(keys, schema), faults, stacked[-_SAMPLE:]


def _key_faults(keys: pa.Table) -> list[str]:
    faults = []
    counts = keys.group_by([ITEM_ID, PART]).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1)).sort_by(ITEM_ID)
    if len(twice):
        first = twice.slice(0, 1).to_pylist()[0]
        faults.append(
            f"item {first[ITEM_ID]!r}, part {first[PART]}: found {first['count_all']} rows, "
            f"expected 1 ({len(twice):,} such parts)"
        )
    hashes = keys.group_by(ITEM_ID).aggregate([(CONTENT_HASH, "count_distinct")])
    mixed = hashes.filter(pc.greater(hashes[f"{CONTENT_HASH}_count_distinct"], 1)).sort_by(ITEM_ID)
    if len(mixed):
        faults.append(
            f"item {mixed[ITEM_ID][0].as_py()!r}: its parts were made from different contents, "
            f"expected one ({len(mixed):,} such items)"
        )
    return faults


def _search_faults(index: Index, queries: npt.NDArray[np.float32]) -> list[str]:
    if not len(queries):
        return []
    memory = MemoryIndex(Index.open(index.folder, index.model_id))
    found = memory.search(queries, _WANTED)
    memory.close()
    exact = index.search(queries, _WANTED)
    # Compared by score: of items that are equally near, either is right.
    shares = [
        np.mean([any(abs(hit.score - other.score) < 1e-5 for other in got) for hit in right])
        for right, got in zip(exact, found, strict=True)
    ]
    wanted = 1.0 if memory.is_exact else _AGREEMENT
    if np.mean(shares) >= wanted:
        return []
    return [
        f"searches in memory found {np.mean(shares):.3f} of what exact ones do, expected {wanted}"
    ]
