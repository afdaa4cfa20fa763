"""All measures on items at once, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oclear.governance.quality.bcubed import bcubed
from oclear.governance.quality.contingency import cross
from oclear.governance.quality.ids import (
    gini,
    id_sizes,
    over_merge_rate,
    over_split_rate,
    purity,
)
from oclear.governance.quality.pairs import PairCounts, pair_counts


def item_quality(
    found: NDArray[Any], truth: NDArray[Any], mask: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """The measures of a partition of items against their true products.

    Args:
        found: (items,) the ID of each item, negative for none.
        truth: (items,) its product, negative where it is not known: left out, save for ``gini`` and ``largest``.
        mask: (items,) the group to look at; the whole where None.

    Returns:
        ``pair_precision``, ``pair_recall``, ``pair_f1`` (pairs with at least one item in the mask); with a mask the
        same with ``_both`` (pairs inside it); ``bcubed_precision`` ... over items and ``bcubed_macro_precision`` ...
        over products; ``over_merge``, ``over_split``, ``purity``, ``gini`` of the IDs' numbers of items; all in
        [0, 1], not-a-number where undefined. ``largest``: items in the largest ID.
    """
    table = cross(found, truth, mask)
    measures = _of_pairs(pair_counts(table), "")
    if mask is not None:
        measures |= _of_pairs(pair_counts(table, "both"), "_both")
    for macro, name in ((False, "bcubed_"), (True, "bcubed_macro_")):
        b = bcubed(table, macro=macro)
        measures |= {name + "precision": b.precision, name + "recall": b.recall, name + "f1": b.f1}
    sizes = id_sizes(found, mask)
    return measures | {
        "over_merge": over_merge_rate(table),
        "over_split": over_split_rate(table),
        "purity": purity(table),
        "gini": gini(sizes),
        "largest": int(sizes.max(initial=0)),
    }


def _of_pairs(pairs: PairCounts, ending: str) -> dict[str, float]:
    return {
        "pair_precision" + ending: pairs.precision,
        "pair_recall" + ending: pairs.recall,
        "pair_f1" + ending: pairs.f1,
    }
