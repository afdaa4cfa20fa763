"""IDs against products, counted: what all measures on items are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Contingency:
    """The items whose product is known, and the non-empty cells of the table of IDs by products.

    Args:
        place: (items,) which ID an item is in, numbered from 0; an item in no ID has a place of its own.
        product: (items,) which product it is, numbered from 0.
        cell: (items,) the cell it is in, numbered from 0.
        mask: (items,) the group that is looked at.
        cell_place: (cells,) the ID of a cell.
        cell_product: (cells,) its product.
        is_id: (places,) False for an item in no ID.
    """

    place: NDArray[np.int64]
    product: NDArray[np.int64]
    cell: NDArray[np.int64]
    mask: NDArray[np.bool_]
    cell_place: NDArray[np.int64]
    cell_product: NDArray[np.int64]
    is_id: NDArray[np.bool_]


def cross(
    found: NDArray[Any], truth: NDArray[Any], mask: NDArray[np.bool_] | None = None
) -> Contingency:
    """Counts IDs against products.

    Args:
        found: (items,) any whole numbers: the ID of each item, negative for none.
        truth: (items,) any whole numbers: its product, negative where it is not known.
        mask: (items,) the group to look at; all items where None.

    Raises:
        ValueError: The arrays differ in length.
    """
    found, truth = np.asarray(found, np.int64), np.asarray(truth, np.int64)
    mask = np.ones(len(found), bool) if mask is None else np.asarray(mask, bool)
    if not len(found) == len(truth) == len(mask):
        raise ValueError(
            f"{len(found)} found, {len(truth)} true labels, a mask of {len(mask)} items"
        )
    known = truth >= 0
    place, is_id = _places(found[known])
    product = np.unique(truth[known], return_inverse=True)[1].reshape(-1)
    products = int(product.max(initial=0)) + 1
    cells, cell = np.unique(place * products + product, return_inverse=True)
    cell_place, cell_product = np.divmod(cells, products)
    return Contingency(
        place, product, cell.reshape(-1), mask[known], cell_place, cell_product, is_id
    )


def _places(found: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """IDs numbered from 0, then the items in none, each with a number of its own."""
    inside = found >= 0
    ids, codes = np.unique(found[inside], return_inverse=True)
    place = np.empty(len(found), np.int64)
    place[inside] = codes.reshape(-1)
    place[~inside] = len(ids) + np.arange(int((~inside).sum()))
    return place, np.arange(len(ids) + int((~inside).sum())) < len(ids)
