"""B-cubed: precision and recall as a single item sees them, so that one huge ID does not decide all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oclear.governance.quality.contingency import Contingency


@dataclass(frozen=True)
class BCubed:
    """B-cubed of a group of items.

    Args:
        precision: In (0, 1]: mean share of an item's ID that is its product.
        recall: In (0, 1]: mean share of an item's product that is in its ID.
    """

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of the two means, as Amigó et al. combine them (not the mean of harmonic means)."""
        return 2 * self.precision * self.recall / (self.precision + self.recall)


def bcubed(table: Contingency, *, macro: bool = False) -> BCubed:
    """Bagga and Baldwin 1998; Amigó, Gonzalo, Artiles and Verdejo 2009. Each item counts itself among its ID.

    An item in no ID is alone: its precision is 1, and it pays in recall.

    Args:
        table: Made by :func:`~oclear.governance.quality.contingency.cross`; means are over the items of its mask, each
            judged among all items.
        macro: Mean over products of the mean over their items (of the mask), so that a product of six sellers counts
            as much as one of a single seller; otherwise mean over items.

    Example:
        >>> from oclear.governance.quality import cross
        >>> b = bcubed(cross(np.array([0, 0, 0, 1]), np.array([5, 5, 6, 6])))
        >>> round(b.precision, 3), b.recall
        (0.667, 0.75)
    """
    nan = float("nan")
    if not table.mask.any():
        return BCubed(nan, nan)
    together = np.bincount(table.cell)[table.cell]
    precision = (together / np.bincount(table.place)[table.place])[table.mask]
    recall = (together / np.bincount(table.product)[table.product])[table.mask]
    if not macro:
        return BCubed(float(precision.mean()), float(recall.mean()))
    product = table.product[table.mask]
    count = np.bincount(product)
    there = count > 0
    precisions = np.bincount(product, precision)[there] / count[there]
    recalls = np.bincount(product, recall)[there] / count[there]
    return BCubed(float(precisions.mean()), float(recalls.mean()))
