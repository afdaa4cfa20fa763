"""How the columns of an items table lie in the store.

The store's own columns start with an underscore; attribute names are percent-encoded where they would
clash with those, or where LanceDB does not take the name as it is. So every name can be stored.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.types as kinds

ITEM_ID = "item_id"
PART = "_part"
VECTOR = "_vector"
CONTENT_HASH = "_content_hash"
OWN = (ITEM_ID, PART, VECTOR, CONTENT_HASH)


def stored_name(name: str) -> str:
    """The name of an attribute's column in the store.

    Example:
        >>> stored_name("price"), stored_name("_part"), stored_name("weight.kg")
        ('price', '%5Fpart', 'weight%2Ekg')
    """
    if name == "":
        return "%"  # No encoded name is a lone percent sign.
    encoded = re.sub(r"[.`%\\]", lambda found: f"%{ord(found.group()):02X}", name)
    return "%5F" + encoded[1:] if encoded.startswith("_") else encoded


def attribute_name(stored: str) -> str:
    """The attribute that a column of the store holds; the inverse of :func:`stored_name`."""
    return "" if stored == "%" else unquote(stored)


def attributes_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    """The attributes that a store's schema holds, under the names that the user has for them, and their types."""
    return {attribute_name(field.name): field.type for field in schema if field.name not in OWN}


def store_schema(items: pa.Schema, dim: int) -> pa.Schema:
    """The store's schema for items of this schema: own columns, then the attributes that it keeps."""
    own: list[pa.Field[Any]] = [
        pa.field(ITEM_ID, pa.string(), nullable=False),
        pa.field(PART, pa.int32(), nullable=False),
        pa.field(VECTOR, pa.list_(pa.float32(), dim), nullable=False),
        pa.field(CONTENT_HASH, pa.string(), nullable=False),
    ]
    attributes: list[pa.Field[Any]] = [
        pa.field(stored_name(column.name), kept)
        for column in items
        if column.name != ITEM_ID and (kept := _stored_type(column.type)) is not None
    ]
    return pa.schema(own + attributes)


def _stored_type(found: pa.DataType) -> pa.DataType | None:
    """The type a column is stored as; None for one that is left out (pictures, exotic types)."""
    if kinds.is_dictionary(found):
        return _stored_type(found.value_type)
    if kinds.is_null(found) or kinds.is_large_string(found) or kinds.is_string_view(found):
        # A column without any value yet may get some later: text holds the most.
        return pa.string()
    if kinds.is_timestamp(found):
        # Filters compare with UTC.
        return pa.timestamp(found.unit, "UTC") if found.tz else found
    if kinds.is_struct(found):
        fields = [(field.name, kept) for field in found if (kept := _stored_type(field.type))]
        return pa.struct(fields) if len(fields) == len(found) else None
    if kinds.is_list(found) or kinds.is_large_list(found) or kinds.is_list_view(found):
        kept = _stored_type(found.value_type)
        return None if kept is None else pa.list_(kept)
    plain = (
        kinds.is_boolean,
        kinds.is_integer,
        kinds.is_floating,
        kinds.is_decimal,
        kinds.is_string,
        kinds.is_date,
        kinds.is_time,
        kinds.is_duration,
    )
    return found if any(is_kind(found) for is_kind in plain) else None
