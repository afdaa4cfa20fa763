"""Items that the same photos, or nearly the same, were answered with."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from oclear.governance.clicks import Clicks
from oclear.governance.evidence.edges import Edges, make_edges
from oclear.governance.looks import Looks, nearest


def behaviour_edges(
    clicks: Clicks, looks: Looks, *, query_gate: float, item_gate: float, least_queries: int
) -> Edges:
    """Ties items that the same photos, or nearly the same, were answered with.

    Real photos are nearly all different, each with about one click, so clicks are gathered over a photo and its near
    duplicates. Two items are tied when both take a good share of the clicks in the surroundings of several clicked
    photos *and* look alike; never on clicks alone.

    Args:
        clicks: The click support.
        looks: Of items and queries.
        query_gate: Cosine from which two photos are near duplicates.
        item_gate: Least cosine of the two items.
        least_queries: Photos that must agree.
    """
    similarities, rows = nearest(looks.queries, looks.queries, 16)
    near = similarities >= query_gate
    starts = np.concatenate([[0], np.cumsum(near.sum(axis=1))])
    around = csr_matrix((np.ones(starts[-1]), rows[near], starts), shape=(len(rows),) * 2)
    gathered = (around @ clicks.matrix).tocsr()
    totals = np.maximum(np.asarray(gathered.sum(axis=1)).ravel(), 1e-12)
    share = gathered.multiply(1 / totals[:, None]).tocsr()
    # Rounding must not decide over four items with equal shares.
    strong = (share >= 0.25 - 1e-9).astype(np.float64)
    # A photo without a click of its own only repeats what another said.
    strong = strong[np.diff(clicks.matrix.indptr) > 0]
    together = (strong.T @ strong).tocoo()
    enough = (together.row < together.col) & (together.data >= least_queries)
    a, b = together.row[enough].astype(np.int64), together.col[enough].astype(np.int64)
    similarity = np.einsum("nd,nd->n", looks.items[a], looks.items[b])
    alike = similarity >= item_gate
    weight = np.clip(similarity[alike], 0.01, 1).astype(np.float32)
    return make_edges("behaviour", a[alike], b[alike], weight, "clicked for the same photos")
