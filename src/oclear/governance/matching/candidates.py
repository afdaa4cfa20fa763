"""Which pairs of items are worth comparing: nobody can compare all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oclear.governance.evidence import Edges
from oclear.governance.looks import nearest, normalized


def neighbour_pairs(
    vectors: NDArray[np.float32], blocks: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The k nearest of each item by cosine, inside its block, as pairs (a < b), each once, in order.

    Args:
        vectors: (items, d); rows of zeros have no neighbours.
        blocks: (items,) only items of one block are paired.
        k: Neighbours of an item.
    """
    unit = normalized(vectors)
    known = np.linalg.norm(unit, axis=1) > 0.5
    order = np.argsort(blocks, kind="stable")
    order = order[known[order]]
    low, high = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1):
        if len(rows) > 1:
            _, near = nearest(unit[rows], unit[rows], k + 1)
            mine, others = np.repeat(rows, near.shape[1]), rows[near.ravel()]
            low.append(np.minimum(mine, others))
            high.append(np.maximum(mine, others))
    return unique_pairs(np.concatenate(low), np.concatenate(high), len(vectors))


def unique_pairs(
    a: NDArray[np.int64], b: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (a < b), each once, in order."""
    apart = a != b
    codes = np.unique(np.minimum(a, b)[apart] * count + np.maximum(a, b)[apart])
    low, high = np.divmod(codes, max(count, 1))
    return low, high


def edge_weights(
    evidence: Sequence[Edges], a: NDArray[np.int64], b: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """(pairs,) the largest weight that an edge gives each pair, 0 where there is none; pairs must be in order."""
    codes = a * count + b
    weights = np.zeros(len(codes), np.float32)
    for edges in evidence:
        wanted = edges.a * count + edges.b
        place = np.minimum(np.searchsorted(codes, wanted), max(len(codes) - 1, 0))
        found = codes[place] == wanted if len(codes) else np.zeros(len(wanted), bool)
        np.maximum.at(weights, place[found], edges.weight[found])
    return weights
