"""How good category IDs are, against the truth: functions on integer labels, nothing else.

An item in no ID (found -1) is taken as alone: it is in no pair, and a product with such an item is spread over several
places. It is no ID, and never counts among them. An item whose product is not known (truth -1) is left out.

A ``mask`` looks at a group of items, as those never exposed, within the whole: the IDs and the products that it
touches are still counted with all their items. Undefined shares (none of nothing) are not-a-number.
"""

from oclear.governance.quality.bcubed import BCubed, bcubed
from oclear.governance.quality.contingency import Contingency, cross
from oclear.governance.quality.ids import (
    gini,
    id_sizes,
    over_merge_rate,
    over_split_rate,
    purity,
)
from oclear.governance.quality.pairs import (
    PairCounts,
    pair_counts,
    pair_f1,
    pair_precision,
    pair_recall,
)
from oclear.governance.quality.samples import coverage, label_purity
from oclear.governance.quality.summary import item_quality

__all__ = [
    "BCubed",
    "Contingency",
    "PairCounts",
    "bcubed",
    "coverage",
    "cross",
    "gini",
    "id_sizes",
    "item_quality",
    "label_purity",
    "over_merge_rate",
    "over_split_rate",
    "pair_counts",
    "pair_f1",
    "pair_precision",
    "pair_recall",
    "purity",
]
