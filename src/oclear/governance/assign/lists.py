"""Which items visitors were shown for each photo."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from oclear.tables import Exposures, Items, Queries, index_of


def shown_items(exposures: Exposures, queries: Queries, items: Items) -> csr_matrix:
    """(queries, items) how often an item was shown for a query, whatever was clicked.

    Args:
        exposures: The log.
        queries: The photos whose result lists count.
        items: The catalogue.
    """
    photo = index_of(exposures.table["query_id"], queries.table["query_id"])
    item = index_of(exposures.table["item_id"], items.table["item_id"])
    known = (photo >= 0) & (item >= 0)
    ones = np.ones(int(known.sum()), np.float32)
    shape = (len(queries), len(items))
    return csr_matrix((ones, (photo[known], item[known])), shape=shape)
