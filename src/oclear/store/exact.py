"""Exact search in a LanceDB table: all rows that pass, by their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oclear.store.columns import ITEM_ID, PART, VECTOR, stored_name
from oclear.store.hits import Hit, best_rows, cosine
from oclear.store.lance import ROW_ID, values

# Rows asked for first, per item wanted, and the growth where that was too few (many pictures, ties).
_ROWS_PER_ITEM = 4


def search_exactly(
    table: Any,
    queries: npt.NDArray[np.float32],
    k: int,
    condition: str | None,
    attributes: list[str],
) -> list[list[Hit]]:
    """The k nearest items of each query, best first; ties in the order of item ids.

    Args:
        table: LanceDB's.
        queries: ``(Q, dim)`` of length 1.
        k: How many items.
        condition: SQL over the store's columns.
        attributes: The user's names of what hits carry.
    """
    nearest = [_nearest(table, query, k, condition) for query in queries]
    found = _attributes_of_rows(table, nearest, attributes)
    return [
        [
            Hit(row[ITEM_ID], cosine(1 - row["_distance"]), row[PART], own)
            for row in rows.to_pylist()
            # Deleted in this very moment: no longer a hit.
            if (own := found.get(row[ROW_ID])) is not None
        ]
        for rows in nearest
    ]


def _nearest(table: Any, query: npt.NDArray[np.float32], k: int, condition: str | None) -> pa.Table:
    limit = _ROWS_PER_ITEM * k
    while True:
        search = (
            table.search(query, vector_column_name=VECTOR)
            .distance_type("dot")
            .bypass_vector_index()
            .select([ITEM_ID, PART, "_distance"])
            .with_row_id(True)
            .limit(limit)
        )
        if condition is not None:
            search = search.where(condition, prefilter=True)
        rows: pa.Table = search.to_arrow()
        best = best_rows(rows, k, complete=len(rows) < limit)
        if best is not None:
            return rows.take(best)
        limit *= _ROWS_PER_ITEM


def _attributes_of_rows(
    table: Any, nearest: list[pa.Table], names: list[str]
) -> dict[int, dict[str, Any]]:
    row_ids = sorted({row for rows in nearest for row in values(rows, ROW_ID)})
    if not row_ids or not names:
        return {row: {} for row in row_ids}
    columns = [stored_name(name) for name in names]
    found = table.take_row_ids(row_ids).select(columns).with_row_id().to_arrow()
    cells = zip(*(found[column].to_pylist() for column in columns), strict=True)
    return {
        row: dict(zip(names, attributes, strict=True))
        for row, attributes in zip(values(found, ROW_ID), cells, strict=True)
    }
