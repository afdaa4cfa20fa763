"""One search result per item, from rows that are one per picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oclear.store.columns import ITEM_ID, PART


class Hit(NamedTuple):
    """An item that a search found.

    Attributes:
        item_id: The item.
        score: Cosine between the query and the item's best picture, in [-1, 1].
        part: Number of that picture within the item; below zero for what the item learned from photos.
        attributes: The item's attribute columns, as Python values.
    """

    item_id: str
    score: float
    part: int
    attributes: Mapping[str, Any]


def cosine(score: float) -> float:
    """A score within [-1, 1]: a dot product of unit vectors may pass 1 by rounding."""
    return min(1.0, max(-1.0, score))


def best_rows(rows: pa.Table, k: int, *, complete: bool) -> npt.NDArray[np.int64] | None:
    """Which of the nearest rows are the answer: the best row of each of the k nearest items.

    Equal distances are ordered by item id, then by part.

    Args:
        rows: The nearest rows of the store, with ``item_id``, ``_part`` and ``_distance``.
        k: How many items are asked for.
        complete: Whether ``rows`` are all that there are.

    Returns:
        Row indices, nearest first, at most k; None where more rows are needed to know: the last row
        stands for any number of rows at its distance, which may belong to further items.
    """
    distance = rows["_distance"].to_numpy()
    item_ids = rows[ITEM_ID].to_numpy(zero_copy_only=False)
    parts = rows[PART].to_numpy()
    order = np.lexsort((parts, item_ids, distance))
    first_of_item = np.sort(np.unique(item_ids[order], return_index=True)[1])
    chosen = order[first_of_item[:k]]
    if complete:
        return chosen
    if len(chosen) < k or distance[chosen[-1]] >= distance.max():
        return None
    return chosen
