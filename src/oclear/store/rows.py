"""Rows for the store from what a caller has: items, and the vectors of their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oclear.errors import InputError
from oclear.store.columns import (
    CONTENT_HASH,
    ITEM_ID,
    PART,
    VECTOR,
    attribute_name,
    stored_name,
)
from oclear.store.contract import StoredItem


def store_rows(
    items: pa.Table,
    schema: pa.Schema,
    *,
    item_row: npt.NDArray[np.int64],
    parts: npt.NDArray[np.int32],
    vectors: npt.NDArray[np.float32],
    content_hashes: Sequence[str],
) -> pa.Table:
    """One row of the store's schema per vector; the arguments are those of ``Index.upsert``.

    Raises:
        InputError: An attribute does not fit the store's type.
        ValueError: What does not fit together, or a part given twice.
    """
    if len(set(items[ITEM_ID].to_pylist())) != len(items) or len(content_hashes) != len(items):
        raise ValueError("items must be distinct, with one content hash each")
    if not len(item_row) == len(parts) == len(vectors):
        raise ValueError("item_row, parts and vectors must be of one length")
    if len(set(zip(item_row.tolist(), parts.tolist(), strict=True))) != len(parts):
        raise ValueError("an item has a part twice")
    order = pa.array(item_row, pa.int64())
    columns: list[Any] = []
    for field in schema:
        name = attribute_name(field.name)
        if field.name == PART:
            columns.append(pa.array(parts, pa.int32()))
        elif field.name == VECTOR:
            flat = pa.array(unit_vectors(vectors, field.type.list_size).ravel())
            columns.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
        elif field.name == CONTENT_HASH:
            columns.append(pa.array(content_hashes, pa.string()).take(order))
        elif name in items.column_names:
            columns.append(fitted_column(items, name, schema).take(order))
        else:
            columns.append(pa.nulls(len(parts), field.type))
    return pa.table(columns, schema=schema)


def fitted_column(items: pa.Table, name: str, schema: pa.Schema) -> Any:
    """A column of items, as a ``pa.ChunkedArray`` of the store's type.

    Raises:
        InputError: Values that the store's type cannot hold.
    """
    wanted = schema.field(stored_name(name)).type
    column = items[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        column = column.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"column '{name}': found {column.type}, this index has stored {wanted}: "
            f"{str(error).splitlines()[0]:.120}",
            "Make the index again with oclear index --overwrite.",
        ) from error
    if pa.types.is_floating(wanted):
        # How pandas writes a missing number; as one it would be above all others.
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, wanted), column)
    return column


def unit_vectors(vectors: npt.NDArray[np.float32], dim: int) -> npt.NDArray[np.float32]:
    """Vectors brought to length 1.

    Raises:
        ValueError: A shape other than ``(n, dim)``, or a vector that is zero or not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise ValueError(f"vectors have shape {vectors.shape}, expected (n, {dim})")
    single = np.asarray(vectors, np.float32)
    with np.errstate(over="ignore"):
        squares = np.vecdot(single, single)[:, np.newaxis]
    if not ((squares > 1e-20) & (squares < 1e20)).all():
        return _unit_vectors_of_any_length(vectors)
    unit: npt.NDArray[np.float32] = single / np.sqrt(squares)
    return unit


def _unit_vectors_of_any_length(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """In float64, which squares of float32 numbers do not leave."""
    wide = np.asarray(vectors, np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    if not np.isfinite(length).all() or (length == 0).any():
        raise ValueError("a vector is zero or not finite")
    return np.asarray(wide / length, np.float32)


def items_of(rows: pa.Table) -> dict[str, StoredItem]:
    """Rows of the store, one per picture, as whole items by id."""
    own = (ITEM_ID, PART, CONTENT_HASH)
    found: dict[str, StoredItem] = {}
    for row in rows.sort_by([(ITEM_ID, "ascending"), (PART, "ascending")]).to_pylist():
        item_id = row[ITEM_ID]
        if item_id in found:
            parts = (*found[item_id].parts, row[PART])
            found[item_id] = replace(found[item_id], parts=parts)
        else:
            attributes = {attribute_name(name): row[name] for name in row if name not in own}
            found[item_id] = StoredItem(item_id, (row[PART],), row[CONTENT_HASH], attributes)
    return found
