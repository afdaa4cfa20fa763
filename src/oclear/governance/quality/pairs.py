"""Pairs of items: are those in one ID the same product, and are those of one product in one ID?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oclear.governance.quality.contingency import Contingency, cross

Within = Literal["either", "both"]
"""Which pairs belong to a group: those with at least one item in it, or with both."""


@dataclass(frozen=True)
class PairCounts:
    """Unordered pairs of two different items.

    Args:
        right: In one ID and of one product.
        found: In one ID.
        true: Of one product.
    """

    right: int
    found: int
    true: int

    @property
    def precision(self) -> float:
        """In [0, 1]: of the pairs in one ID, the share of one product; not-a-number where no ID has two items."""
        return self.right / self.found if self.found else float("nan")

    @property
    def recall(self) -> float:
        """In [0, 1]: of the pairs of one product, the share in one ID; not-a-number where no product has two items."""
        return self.right / self.true if self.true else float("nan")

    @property
    def f1(self) -> float:
        """In [0, 1]: the harmonic mean of both; 0 where only one of the two is defined."""
        pairs = self.found + self.true
        return 2 * self.right / pairs if pairs else float("nan")


def pair_counts(table: Contingency, within: Within = "either") -> PairCounts:
    """Counts pairs from group sizes, never pair by pair.

    Args:
        table: Made by :func:`~oclear.governance.quality.contingency.cross`.
        within: Which pairs belong to the group of the table's mask. A never-exposed item can be wrongly tied to an
            exposed one, so ``either`` is what tells how good the IDs of a group are; ``both`` looks at the group as if
            it were alone. Pairs of one item in the group and one outside count in the ``either`` of both groups.
    """
    labels = (table.cell, table.place, table.product)
    if within == "both":
        right, found, true = (_pairs(codes[table.mask]) for codes in labels)
    else:
        outside = ~table.mask
        right, found, true = (_pairs(codes) - _pairs(codes[outside]) for codes in labels)
    return PairCounts(right, found, true)


def pair_precision(
    found: NDArray[Any],
    truth: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    within: Within = "either",
) -> float:
    """Of the pairs of items in one ID, the share of one product.

    Args:
        found: (items,) the ID of each item, negative for none.
        truth: (items,) its product, negative where it is not known.
        mask: (items,) the group to look at.
        within: See :func:`pair_counts`.

    Example:
        >>> found, truth = np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6])
        >>> round(pair_precision(found, truth), 3), pair_recall(found, truth)
        (0.333, 0.5)
    """
    return pair_counts(cross(found, truth, mask), within).precision


def pair_recall(
    found: NDArray[Any],
    truth: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    within: Within = "either",
) -> float:
    """Of the pairs of items of one product, the share in one ID; arguments as for :func:`pair_precision`."""
    return pair_counts(cross(found, truth, mask), within).recall


def pair_f1(
    found: NDArray[Any],
    truth: NDArray[Any],
    mask: NDArray[np.bool_] | None = None,
    within: Within = "either",
) -> float:
    """The harmonic mean of pair precision and recall; arguments as for :func:`pair_precision`."""
    return pair_counts(cross(found, truth, mask), within).f1


def _pairs(codes: NDArray[np.int64]) -> int:
    sizes = np.bincount(codes)
    return int((sizes * (sizes - 1) // 2).sum())
