"""Samples: does an item have anything to be learned with, and do photos carry the right label?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def coverage(
    found: NDArray[Any], query_ids: NDArray[Any], mask: NDArray[np.bool_] | None = None
) -> float:
    """The share of items (of the mask) whose ID holds a query or another item, in [0, 1].

    The others are alone with their own pictures: training learns nothing about them that it could not see in one item.

    Args:
        found: (items,) the ID of each item, negative for none; it counts as not covered.
        query_ids: (memberships,) the IDs that queries are in.
        mask: (items,) the group to look at, for example the items with fewest exposures.

    Example:
        >>> coverage(np.array([0, 0, 1, 2, -1]), np.array([2]))
        0.6
    """
    found = np.asarray(found, np.int64)
    _, code, sizes = np.unique(found, return_inverse=True, return_counts=True)
    company = (sizes[code.reshape(-1)] > 1) | np.isin(found, query_ids)
    covered = company & (found >= 0)
    if mask is not None:
        covered = covered[mask]
    return float(covered.mean()) if len(covered) else float("nan")


def label_purity(
    query: NDArray[Any], found: NDArray[Any], true_query: NDArray[Any], true_found: NDArray[Any]
) -> tuple[float, int]:
    """The share of memberships of queries whose ID holds a true item of the query, in [0, 1].

    Args:
        query: (memberships,) which query, any whole numbers from 0.
        found: (memberships,) the ID it is in, negative for none: never right.
        true_query: (pairs,) the queries whose true items are known, one row a true item.
        true_found: (pairs,) the ID of that item, negative for none.

    Returns:
        The share, and of how many memberships: those of queries whose truth is known.

    Example:
        >>> label_purity(np.array([0, 0, 1, 9]), np.array([4, 5, 4, 4]), np.array([0, 1]), np.array([4, -1]))
        (0.3333333333333333, 3)
    """
    query, true_query = np.asarray(query, np.int64), np.asarray(true_query, np.int64)
    found, true_found = np.asarray(found, np.int64), np.asarray(true_found, np.int64)
    # IDs grow from round to round without end: numbered anew, so that a pair fits into 64 bits.
    ids, codes = np.unique(np.concatenate([found, true_found]), return_inverse=True)
    codes = codes.reshape(-1)
    member = query * len(ids) + codes[: len(found)]
    right = true_query * len(ids) + codes[len(found) :]
    judged = np.isin(query, true_query)
    is_right = np.isin(member[judged], right[true_found >= 0])
    count = int(judged.sum())
    return (float(is_right.mean()) if count else float("nan")), count
