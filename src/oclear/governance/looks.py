"""What items and photos look like: vectors in one space, and the nearest of them."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

_EXACT_MOST = 100_000
_LISTS_SEARCHED = 32
_LIST_ROUNDS, _LIST_POINTS = 6, 64


@dataclass(frozen=True, eq=False)
class Looks:
    """What items and queries look like, in one space; rows that have no picture are zero.

    Args:
        items: (items, d) float32, normalised.
        queries: (queries, d) float32, normalised.
        texts: (items, t) float32, normalised, or None.
    """

    items: NDArray[np.float32]
    queries: NDArray[np.float32]
    texts: NDArray[np.float32] | None = None

    def joint_items(self, text_weight: float) -> NDArray[np.float32]:
        """Picture and text of items as one vector, whose cosine is the weighted mean of both cosines.

        Two items without text are compared by their pictures alone; one with and one without by what the picture
        weighs. Items without a picture stay zero, whatever their text says.
        """
        if self.texts is None or text_weight == 0:
            return self.items
        seen = np.linalg.norm(self.items, axis=1, keepdims=True) > 0.5
        joint = np.hstack(
            [np.sqrt(1 - text_weight) * self.items, np.sqrt(text_weight) * self.texts]
        )
        return normalized(joint * seen)


def normalized(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of length one; rows of zeros stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit


def nearest(
    vectors: NDArray[np.float32], among: NDArray[np.float32], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest by cosine: similarities (n, k) and rows (n, k).

    Exact among up to 100,000 rows. Above, inverted lists are searched (Sivic and Zisserman, 2003; FAISS): the time
    grows with n times the square root of the rows, and a few of a hundred neighbours are missed. Where fewer than k
    are found, the row repeats its nearest.
    """
    exact = faiss.IndexFlatIP(among.shape[1])
    index: faiss.Index = exact
    if len(among) > _EXACT_MOST:
        lists = int(4 * np.sqrt(len(among)))
        inverted = faiss.IndexIVFFlat(exact, among.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        inverted.cp.niter, inverted.cp.max_points_per_centroid = _LIST_ROUNDS, _LIST_POINTS
        inverted.nprobe = _LISTS_SEARCHED
        inverted.train(np.ascontiguousarray(among))
        index = inverted
    index.add(np.ascontiguousarray(among))
    similarities, rows = index.search(np.ascontiguousarray(vectors), min(k, len(among)))
    missing = rows < 0
    if missing.any():
        rows = np.where(missing, rows[:, :1], rows)
        similarities = np.where(missing, similarities[:, :1], similarities)
    return similarities, rows
