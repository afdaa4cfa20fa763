"""A put item as the row and the pictures that are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oclear.errors import nearest_name
from oclear.model import TwoTowerModel
from oclear.serving.errors import ApiError
from oclear.serving.photos import Photo
from oclear.serving.writer import Put
from oclear.store.columns import ITEM_ID
from oclear.store.contract import StoredItem
from oclear.tables import Items


def put_of(
    item_id: str,
    attributes: Mapping[str, Any],
    photos: Sequence[Photo],
    pixels: Sequence[NDArray[np.uint8]],
    *,
    before: StoredItem | None,
    types: Mapping[str, pa.DataType],
    model: TwoTowerModel,
) -> Put:
    """The change that stores an item whole: attributes that are not given become null.

    Args:
        item_id: The item.
        attributes: JSON values by name.
        photos: Its pictures as uploaded; none to keep those that are stored.
        pixels: The same, fitted to the model.
        before: The item as it is stored now.
        types: The store's attributes.
        model: What the pictures and the text are encoded with.

    Raises:
        ApiError: An attribute that the store does not have or that does not fit; no picture where one is needed.
    """
    row = item_row(item_id, attributes, types)
    text = _text(row, model)
    if not photos:
        if before is None:
            raise ApiError(422, f"{item_id!r} is new", "Give at least one picture with it.")
        reads = model.text_encoder is not None
        if reads and text != _text(item_row(item_id, before.attributes, types), model):
            columns = ", ".join(model.text_columns_of(list(types)))
            raise ApiError(
                422,
                "its text has changed, which the model reads together with the pictures",
                f"Give the pictures too, or leave as they are: {columns}.",
            )
    # The same as 'oclear index' computes from files: it does not encode this item again.
    digest = hashlib.sha256(text.encode())
    for photo in photos:
        digest.update(hashlib.sha256(photo.data).hexdigest().encode())
    return Put(row, tuple(pixels), text, digest.hexdigest()[:32], model.model_id)


def item_row(
    item_id: str, attributes: Mapping[str, Any], types: Mapping[str, pa.DataType]
) -> pa.Table:
    """One row with the id and every attribute of the store.

    Example:
        >>> item_row("mug", {"price": 3}, {"price": pa.float64(), "brand": pa.string()}).to_pylist()
        [{'item_id': 'mug', 'price': 3.0, 'brand': None}]

    Raises:
        ApiError: An attribute that the store does not have, or a value that its type cannot hold.
    """
    for name in attributes:
        if name not in types:
            raise ApiError(
                422,
                f"the index has no attribute {name!r:.80}",
                f"{nearest_name(name, types)} New ones need the index made anew.",
            )
    columns = {name: _value(name, attributes.get(name), kind) for name, kind in types.items()}
    return pa.table({ITEM_ID: pa.array([item_id], pa.string()), **columns})


def _value(name: str, value: Any, kind: pa.DataType) -> pa.Array:
    try:
        # By a cast, which refuses to lose anything; dates and times come as text.
        return pa.array([value]).cast(kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ApiError(
            422, f"attribute {name!r}: found {value!r:.80}, the index has stored {kind}"
        ) from error


def _text(row: pa.Table, model: TwoTowerModel) -> str:
    """What the model reads of an item."""
    return Items(Path("item"), row).texts(model.text_columns_of(row.column_names))[0]
