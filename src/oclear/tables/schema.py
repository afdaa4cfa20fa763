"""The column names of the tables, and one spelling for Arrow types that mean the same."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

Side = Literal["query", "document"]
"""Which tower a picture belongs to: a photo someone searches with, or a catalogue entry."""

ITEM_ID, QUERY_ID, REQUEST_ID = "item_id", "query_id", "request_id"
IMAGE_PATH, IMAGE = "image_path", "image"
COARSE_LABEL = "coarse_label"
ITEM_TEXTS = ("title", "description", COARSE_LABEL)
"""The text columns of items with a fixed meaning; every further column is an attribute."""
QUERY_COLUMNS = (QUERY_ID, IMAGE_PATH, IMAGE, "box", "split", "timestamp")
EXPOSURE_COLUMNS = (
    *(REQUEST_ID, QUERY_ID, ITEM_ID, "position", "clicked"),
    *("purchased", "timestamp", "session_id", "user_hash", "model_id", "propensity"),
)
TRUTH_COLUMNS = (QUERY_ID, ITEM_ID)

TIMESTAMP = pa.timestamp("us")
"""Times are UTC in microseconds, without a zone."""
BOX = pa.list_(pa.float32(), 4)
"""x0, y0, x1, y1 in pixels of the picture as seen, that is after its EXIF rotation."""


def plain_type(given: pa.DataType) -> pa.DataType:
    """The one type we work with for all that mean the same.

    Large and view strings become strings, dictionaries their values, large lists lists; other
    types stay.

    Example:
        >>> plain_type(pa.large_list(pa.large_string()))
        ListType(list<item: string>)
    """
    if pa.types.is_dictionary(given):
        return plain_type(given.value_type)
    if pa.types.is_large_string(given) or pa.types.is_string_view(given):
        return pa.string()
    if pa.types.is_list(given) or pa.types.is_large_list(given):
        return pa.list_(plain_type(given.value_type))
    return given


def plain_table(table: pa.Table) -> pa.Table:
    """``table`` with every column in its :func:`plain_type`."""
    fields = [pa.field(f.name, plain_type(f.type)) for f in table.schema]
    schema = pa.schema(fields, metadata=table.schema.metadata)
    return table if schema.equals(table.schema) else table.cast(schema)
