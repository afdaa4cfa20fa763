"""Pairs of rows that fell into one bucket, never all of a large one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def band_buckets(signatures: NDArray[np.generic], start: int, size: int) -> NDArray[np.int64]:
    """(n,) one number for all rows that agree in the columns from ``start``, ``size`` of them.

    Args:
        signatures: (n, columns) numbers of one kind.
        start: The first column.
        size: Number of columns, from 1.
    """
    band = np.ascontiguousarray(signatures[:, start : start + size])
    rows = band.view([("", band.dtype)] * band.shape[1]).reshape(-1)
    return np.unique(rows, return_inverse=True)[1].reshape(-1).astype(np.int64)


def pairs_in_buckets(
    bucket: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of rows in one bucket: each row with the ``window`` that follow it there.

    In a bucket of up to window + 1 rows these are all pairs; a larger one costs window times its rows, not its square.

    Args:
        bucket: (n,) the bucket of each row.
        window: From 1.

    Example:
        >>> pairs_in_buckets(np.array([7, 5, 7, 7]), 1)
        (array([0, 2]), array([2, 3]))
    """
    order = np.argsort(bucket, kind="stable").astype(np.int64)
    placed = bucket[order]
    a, b = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for step in range(1, min(window, len(order) - 1) + 1):
        same = np.flatnonzero(placed[step:] == placed[:-step])
        if not len(same):
            break
        a.append(order[same])
        b.append(order[same + step])
    return np.concatenate(a), np.concatenate(b)
