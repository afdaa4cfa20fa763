"""IDs that look alike and were not merged: training need not push them far apart."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.evidence import make_edges
from oclear.governance.looks import Looks, nearest, normalized
from oclear.governance.merge import Merge

_NEIGHBOURS = 8


def look_alike_links(
    merge: Merge, category_id: NDArray[np.int64], looks: Looks, gate: float
) -> pa.Table:
    """Pairs of IDs whose items look alike on average.

    Args:
        merge: The groups.
        category_id: (groups,) their IDs.
        looks: Of the items.
        gate: Least cosine of the means.

    Returns:
        ``id_a``, ``id_b``, ``kind`` (always ``look_alike``), ``weight`` (the cosine).
    """
    ones = np.ones(len(merge.group), np.float32)
    members = csr_matrix((ones, (merge.group, np.arange(len(ones)))))
    centres = normalized(members @ looks.items)
    similarities, rows = nearest(centres, centres, _NEIGHBOURS + 1)
    near = similarities >= gate
    a = np.repeat(np.arange(merge.count), near.sum(axis=1))
    found = make_edges("looks", a, rows[near], similarities[near], "look alike")
    return pa.table(
        {
            "id_a": category_id[found.a],
            "id_b": category_id[found.b],
            "kind": pa.repeat("look_alike", len(found)),
            "weight": found.weight,
        }
    )
