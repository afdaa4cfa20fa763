"""Items whose pictures and texts lie close together in feature space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN, HDBSCAN

from oclear.governance.evidence.edges import Edges, make_edges
from oclear.governance.looks import nearest, normalized

Clustering = Literal["dbscan", "hdbscan", "kmeans"]

_NEIGHBOURS = 32
# HDBSCAN sees what hangs together within so many radii, and at most so many items at once (a matrix of distances each).
_HDBSCAN_REACH = 2.0
_HDBSCAN_FLOOR = 0.5
_HDBSCAN_MOST = 2000
_KMEANS_ROUNDS = 20
_SEED = 0


def look_edges(
    joint: NDArray[np.float32],
    blocks: NDArray[np.int64],
    radius: float,
    clustering: Clustering = "dbscan",
    *,
    clusters_share: float = 0.4,
) -> Edges:
    """Ties the items of each cluster to the one at its centre, inside each block.

    Whatever finds the clusters, members further than the radius from the mean of theirs leave it: so chains of
    DBSCAN do not grow without end, and clusters of k-means that are no group are none.

    Args:
        joint: (items, d) normalised vectors, zero where unknown.
        blocks: (items,) only items of one block are compared.
        radius: Cosine distance, in (0, 1).
        clustering: ``dbscan`` (Ester et al., 1996) on a sparse neighbour graph, clusters of two and more.
            ``hdbscan`` (Campello et al., 2013) on what hangs together in that graph at twice the radius: clusters of
            differing density. ``kmeans`` (spherical; Dhillon and Modha, 2001): every item has a cluster.
        clusters_share: Clusters of k-means for each item, in (0, 1]; the time grows with its product with items².
    """
    a, b, weight = [], [], []
    known = np.linalg.norm(joint, axis=1) > 0.5
    order = np.argsort(blocks, kind="stable")
    order = order[known[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1):
        if len(rows) < 2:
            continue
        labels = _labels(joint[rows], radius, clustering, clusters_share)
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


def _labels(
    vectors: NDArray[np.float32], radius: float, clustering: Clustering, clusters_share: float
) -> NDArray[np.int64]:
    """The cluster of each vector, -1 for none."""
    if clustering == "kmeans":
        return _kmeans(vectors, clusters_share)
    if clustering == "hdbscan":
        return _hdbscan(vectors, radius)
    model = DBSCAN(eps=radius, min_samples=2, metric="precomputed")
    labels: NDArray[np.int64] = model.fit(_neighbour_graph(vectors, radius)).labels_
    return labels


def _neighbour_graph(vectors: NDArray[np.float32], radius: float) -> csr_matrix:
    """Cosine distances of the nearest neighbours within the radius, both ways."""
    similarities, columns = nearest(vectors, vectors, _NEIGHBOURS)
    near = similarities >= 1 - radius
    rows = np.repeat(np.arange(len(vectors)), near.sum(axis=1))
    distances = np.maximum(1 - similarities[near], 1e-6)  # zeros would vanish from a sparse matrix
    graph = csr_matrix((distances, (rows, columns[near])), shape=(len(vectors), len(vectors)))
    return graph.maximum(graph.T)


def _hdbscan(vectors: NDArray[np.float32], radius: float) -> NDArray[np.int64]:
    """HDBSCAN apart for each component of the neighbour graph, as its memory grows with the square of the items."""
    labels = np.full(len(vectors), -1, np.int64)
    used = 0
    for rows in _pieces(vectors, min(_HDBSCAN_REACH * radius, 0.999)):
        # Equal up to here, so that sellers of one product are not parted by tiny differences of their pictures.
        # (cluster_selection_epsilon is meant for that, and fails in scikit-learn 1.9 under numpy 2.4.)
        distances = 1 - vectors[rows].astype(np.float64) @ vectors[rows].T
        distances = np.maximum(distances, _HDBSCAN_FLOOR * radius)
        np.fill_diagonal(distances, 0)
        model = HDBSCAN(
            min_cluster_size=2,
            min_samples=1,
            metric="precomputed",
            allow_single_cluster=True,
            copy=True,
        )
        found = model.fit(distances).labels_
        labels[rows[found >= 0]] = used + found[found >= 0]
        used += int(found.max(initial=-1)) + 1
    return labels


def _pieces(vectors: NDArray[np.float32], reach: float) -> Iterator[NDArray[np.int64]]:
    """Rows that hang together within the reach; a component of too many is taken apart at smaller reaches."""
    graph = _neighbour_graph(vectors, reach)
    waiting = [(np.arange(len(vectors)), reach)]
    while waiting:
        rows, reach = waiting.pop()
        part = graph[rows][:, rows]
        part.data[part.data > reach] = 0
        part.eliminate_zeros()
        _, component = connected_components(part, directed=False)
        for members in _clusters(component.astype(np.int64)):
            if len(members) > _HDBSCAN_MOST and reach > 1e-3:
                waiting.append((rows[members], reach * 0.8))
            elif len(members) > 1:
                # More that are as good as equal than fit are cut into pieces that do.
                yield from np.array_split(rows[members], -(-len(members) // _HDBSCAN_MOST))


def _kmeans(vectors: NDArray[np.float32], clusters_share: float) -> NDArray[np.int64]:
    model = faiss.Kmeans(
        vectors.shape[1],
        max(1, round(clusters_share * len(vectors))),
        niter=_KMEANS_ROUNDS,
        seed=_SEED,
        spherical=True,
        min_points_per_centroid=1,  # or faiss warns of each block: small clusters are what is wanted
        max_points_per_centroid=len(vectors),
    )
    vectors = np.ascontiguousarray(vectors)
    model.train(vectors)
    labels: NDArray[np.int64] = model.index.search(vectors, 1)[1][:, 0]
    return labels


def _clusters(labels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The members of each cluster; noise (-1) belongs to none."""
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
