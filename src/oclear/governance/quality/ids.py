"""IDs and products one by one: merged, spread, how pure, how even in size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oclear.governance.quality.contingency import Contingency


def over_merge_rate(table: Contingency) -> float:
    """The share of IDs (with an item in the mask, and any known product) that hold several products, in [0, 1]."""
    products = np.bincount(table.cell_place, minlength=len(table.is_id))
    looked_at = _touched(table.place, table.mask, len(products)) & table.is_id
    return _mean(products[looked_at] > 1)


def over_split_rate(table: Contingency) -> float:
    """The share of products (with an item in the mask) that are spread over several IDs, in [0, 1].

    An item in no ID counts as in one of its own. Products of one item are among those counted, and never spread.
    """
    places = np.bincount(table.cell_product)
    return _mean(places[_touched(table.product, table.mask, len(places))] > 1)


def purity(table: Contingency) -> float:
    """The share of items (of the mask) that are of the product most frequent in their ID, in (0, 1].

    Of several equally frequent products each gets its part, so that the order of items plays no role. An item in no
    ID is of the most frequent product.

    Example:
        >>> from oclear.governance.quality import cross
        >>> purity(cross(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6])))
        0.75
    """
    count = np.bincount(table.cell, minlength=len(table.cell_place))
    most = np.zeros(len(table.is_id), np.int64)
    np.maximum.at(most, table.cell_place, count)
    is_most = count == most[table.cell_place]
    equal = np.bincount(table.cell_place, is_most, minlength=len(most))
    part = is_most / equal[table.cell_place]
    return _mean(part[table.cell[table.mask]])


def id_sizes(
    found: NDArray[Any], mask: NDArray[np.bool_] | None = None, samples: NDArray[Any] | None = None
) -> NDArray[np.int64]:
    """(ids,) the size of every ID that holds an item of the mask, in ascending order of IDs.

    Args:
        found: (items,) the ID of each item, negative for none.
        mask: (items,) the group to look at; its IDs are counted with all their items.
        samples: (samples,) the IDs of samples to count in place of items.
    """
    found = np.asarray(found, np.int64)
    looked_at = found[found >= 0] if mask is None else found[mask & (found >= 0)]
    ids = np.unique(looked_at)
    if not len(ids):
        return np.empty(0, np.int64)
    members = found if samples is None else np.asarray(samples, np.int64)
    at = np.searchsorted(ids, members)
    there = at < len(ids)
    there[there] = ids[at[there]] == members[there]
    return np.bincount(at[there], minlength=len(ids)).astype(np.int64)


def gini(sizes: NDArray[Any]) -> float:
    """The Gini coefficient: 0 where all sizes are equal, towards 1 where one ID holds nearly everything.

    Half the mean difference of two sizes, divided by the mean size; not-a-number where all is nothing.

    Example:
        >>> gini(np.array([3, 3, 3])), gini(np.array([0, 0, 0, 4]))
        (0.0, 0.75)
    """
    ordered = np.sort(np.asarray(sizes, np.float64))
    count, total = len(ordered), float(ordered.sum())
    if not total:
        return float("nan")
    ranks = 2 * np.arange(1, count + 1) - count - 1
    return float(ranks @ ordered / (count * total))


def _touched(codes: NDArray[np.int64], mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """(count,) which codes an item of the mask has."""
    touched = np.zeros(count, bool)
    touched[codes[mask]] = True
    return touched


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
