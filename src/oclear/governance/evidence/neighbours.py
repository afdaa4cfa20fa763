"""Items whose pictures and texts lie close together in feature space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN

from oclear.governance.evidence.edges import Edges, make_edges
from oclear.governance.looks import nearest, normalized

_NEIGHBOURS = 32


def look_edges(joint: NDArray[np.float32], blocks: NDArray[np.int64], radius: float) -> Edges:
    """Ties the items of each DBSCAN cluster to the one at its centre, inside each block.

    DBSCAN (Ester et al., 1996) runs on a sparse neighbour graph, with clusters of two and more. Chains are kept in
    check: members further than the radius from the mean of their cluster leave it.

    Args:
        joint: (items, d) normalised vectors, zero where unknown.
        blocks: (items,) only items of one block are compared.
        radius: Cosine distance, in (0, 1).
    """
    a, b, weight = [], [], []
    known = np.linalg.norm(joint, axis=1) > 0.5
    order = np.argsort(blocks, kind="stable")
    order = order[known[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1):
        if len(rows) < 2:
            continue
        labels = _dbscan(joint[rows], radius)
        for members in _clusters(labels):
            centre = normalized(joint[rows[members]].mean(axis=0, keepdims=True))[0]
            similarity = joint[rows[members]] @ centre
            near = similarity >= 1 - radius
            if near.sum() < 2:
                continue
            middle = rows[members[np.argmax(similarity)]]
            others = rows[members[near]]
            others = others[others != middle]
            a.append(np.full(len(others), middle))
            b.append(others)
            weight.append(joint[others] @ joint[middle])
    if not a:
        empty = np.empty(0, np.int64)
        return Edges("looks", empty, empty, np.empty(0, np.float32), "look alike")
    strength = np.clip(np.concatenate(weight), 0.01, 1).astype(np.float32)
    return make_edges("looks", np.concatenate(a), np.concatenate(b), strength, "look alike")


def _dbscan(vectors: NDArray[np.float32], radius: float) -> NDArray[np.int64]:
    similarities, columns = nearest(vectors, vectors, _NEIGHBOURS)
    near = similarities >= 1 - radius
    rows = np.repeat(np.arange(len(vectors)), near.sum(axis=1))
    distances = np.maximum(1 - similarities[near], 1e-6)  # zeros would vanish from a sparse matrix
    graph = csr_matrix((distances, (rows, columns[near])), shape=(len(vectors), len(vectors)))
    graph = graph.maximum(graph.T)
    model = DBSCAN(eps=radius, min_samples=2, metric="precomputed")
    labels: NDArray[np.int64] = model.fit(graph).labels_
    return labels


def _clusters(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The members of each cluster; noise (-1) belongs to none."""
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
