"""Evidence: typed, weighted reasons to put two items into one ID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Edges:
    """Pairs of items that one kind of evidence ties.

    Args:
        kind: The kind of evidence: ``identity``, ``image_hash``, ``title``, ``looks``, ``behaviour``, or a user's
            own.
        a: (n,) item rows, each smaller than its partner.
        b: (n,) item rows.
        weight: (n,) float32 in (0, 1]; stronger evidence is heard first.
        reason: What it says, for reports, for example ``same barcode``.
    """

    kind: str
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    weight: NDArray[np.float32]
    reason: str

    def __len__(self) -> int:
        return len(self.a)


def make_edges(
    kind: str,
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    weight: NDArray[np.float32] | float,
    reason: str,
) -> Edges:
    """Edges with each pair once, in a set order, the strongest of repeated ones."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    weights = np.broadcast_to(np.asarray(weight, np.float32), low.shape)
    order = np.lexsort((-weights, high, low))
    low, high, weights = low[order], high[order], weights[order]
    first = np.ones(len(low), bool)
    first[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    keep = first & (low != high)
    return Edges(kind, low[keep], high[keep], weights[keep], reason)


def chain_edges(
    kind: str,
    codes: NDArray[np.int64],
    reason: str,
    forbidden: Sequence[NDArray[np.int64]] = (),
) -> Edges:
    """Ties all items of one code in a chain: n - 1 edges instead of n².

    Items with the same forbidding values stand side by side in it, so that they stay tied where others are refused.

    Args:
        kind: The kind of evidence.
        codes: (items,) what they share, -1 for nothing.
        reason: What it says.
        forbidden: For each forbidding column, (items,) its value as a number, -1 for none.

    Example:
        >>> edges = chain_edges("identity", np.array([5, -1, 5, 7, 5]), "same barcode")
        >>> list(zip(edges.a.tolist(), edges.b.tolist()))
        [(0, 2), (2, 4)]
    """
    rows = np.flatnonzero(codes >= 0)
    keys = [column[rows] for column in reversed(forbidden)]
    rows = rows[np.lexsort([rows, *keys, codes[rows]])]
    tied = codes[rows[1:]] == codes[rows[:-1]]
    return make_edges(kind, rows[:-1][tied], rows[1:][tied], 1.0, reason)
