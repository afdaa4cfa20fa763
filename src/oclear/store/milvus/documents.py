"""Rows of the store as documents of a Milvus server, whose attributes are JSON."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from oclear.store.columns import CONTENT_HASH, ITEM_ID, OWN, PART, VECTOR, attribute_name
from oclear.store.filters.milvus import moment_text


def document(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the store as the server has it."""
    return {
        # The server pages through keys in expressions of its own, which odd letters would break.
        "key": hashlib.sha256(f"{row[PART]} {row[ITEM_ID]}".encode()).hexdigest(),
        "item_id": row[ITEM_ID],
        "part": row[PART],
        "content_hash": row[CONTENT_HASH],
        "vector": row[VECTOR],
        # What is missing is left out: then 'exists' can ask for it.
        "attributes": {
            attribute_name(name): to_json(value)
            for name, value in row.items()
            if name not in OWN and value is not None
        },
    }


def kept_type(found: pa.DataType) -> pa.DataType | None:
    """The type of an attribute in JSON; None for one that is left out."""
    if kinds.is_list(found):
        inner = kept_type(found.value_type)
        return None if inner is None else pa.list_(inner)
    if kinds.is_decimal(found):
        return pa.float64()
    plain = (
        kinds.is_boolean,
        kinds.is_integer,
        kinds.is_floating,
        kinds.is_string,
        kinds.is_date,
        kinds.is_timestamp,
    )
    return found if any(is_kind(found) for is_kind in plain) else None


def to_json(value: Any) -> Any:
    """An attribute as JSON has it: dates and times as text that sorts as they do."""
    if isinstance(value, list):
        return [to_json(inner) for inner in value]
    if isinstance(value, datetime.datetime):
        return moment_text(value.replace(tzinfo=None))  # UTC already, or without a zone
    return moment_text(value) if isinstance(value, datetime.date) else value


def from_json(value: Any, kind: pa.DataType) -> Any:
    """An attribute of this type from what :func:`to_json` made of it."""
    if value is None:
        return None
    if kinds.is_list(kind):
        return [from_json(inner, kind.value_type) for inner in value]
    if kinds.is_timestamp(kind):
        moment = datetime.datetime.fromisoformat(value)
        return moment.replace(tzinfo=datetime.UTC) if kind.tz else moment
    if kinds.is_date(kind):
        return datetime.date.fromisoformat(value)
    return float(value) if kinds.is_floating(kind) else value
