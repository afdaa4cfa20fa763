"""From evidence to groups of items: proofs first, then average linkage, in which cannot-link always wins."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from oclear.governance.evidence import Edges


@dataclass(frozen=True, eq=False)
class Scores:
    """What all evidence together says about pairs of items.

    Args:
        a: (n,) item rows.
        b: (n,) item rows; each pair once.
        score: (n,) above 0 for one product, below 0 against it; such as log-odds.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    score: NDArray[np.float32]

    @classmethod
    def none(cls) -> Scores:
        """Of no pair."""
        empty = np.empty(0, np.int64)
        return cls(empty, empty, np.empty(0, np.float32))


@dataclass(frozen=True, eq=False)
class Merge:
    """Groups of items.

    Args:
        group: (items,) group number, from 0, in the order of each group's first item.
    """

    group: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Number of groups."""
        return int(self.group.max()) + 1 if len(self.group) else 0


def merge_items(
    count: int,
    proofs: Sequence[Edges],
    forbidden: Sequence[NDArray[np.int64]],
    scores: Scores | None = None,
    most: int | None = None,
) -> Merge:
    """Groups items by evidence.

    Two items never share a group when both have a value of a forbidding column and the values differ, whatever the
    evidence and however long the chain.

    Proofs merge first. Most of their components meet no rule and are taken as they are; in the others edges are taken
    one by one, the strongest first, and one that would break a rule is refused.

    Then the two groups whose pairs have the highest mean score merge, for as long as it is above 0: agglomerative
    clustering with average linkage (Sokal and Michener, 1958). A chain of likenesses therefore ties nothing together
    that the pairs at its ends speak against. Pairs that were never compared count 0.

    The result does not depend on the order of edges and scores; equal ones are taken in the order of their rows.

    Args:
        count: Number of items.
        proofs: Edges that need no further evidence.
        forbidden: For each forbidding column, (items,) its value as a number, -1 for none.
        scores: Of compared pairs.
        most: Items that scores may bring into one group; proofs may exceed it.
    """
    component = _proven(count, proofs, forbidden)
    if scores is not None and len(scores.a):
        _AverageLinkage(component, forbidden, scores, most or count).run()
    return Merge(_by_first_item(component))


def refused_by_cannot_link(
    edges: Edges, group: NDArray[np.int64], forbidden: Sequence[NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """(edges,) which edges tie two groups that hold different values of a forbidding column."""
    apart = group[edges.a] != group[edges.b]
    refused = np.zeros(len(edges), bool)
    for codes in forbidden:
        value = np.full(int(group.max(initial=-1)) + 1, -1)
        given = codes >= 0
        value[group[given]] = codes[given]
        p, q = value[group[edges.a]], value[group[edges.b]]
        refused |= apart & (p >= 0) & (q >= 0) & (p != q)
    return refused


def _proven(
    count: int, proofs: Sequence[Edges], forbidden: Sequence[NDArray[np.int64]]
) -> NDArray[np.int64]:
    a = np.concatenate([edges.a for edges in proofs] or [np.empty(0, np.int64)])
    b = np.concatenate([edges.b for edges in proofs] or [np.empty(0, np.int64)])
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    component: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    broken = np.zeros(component.max(initial=-1) + 1, bool)
    for codes in forbidden:
        broken[_conflicting(component, codes)] = True
    if broken.any():
        _split_components(component, broken, proofs, forbidden)
    return component


def _conflicting(component: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The components that hold two different values."""
    given = np.flatnonzero(codes >= 0)
    low = np.full(component.max(initial=-1) + 1, np.iinfo(np.int64).max)
    high = np.full(len(low), -1)
    np.minimum.at(low, component[given], codes[given])
    np.maximum.at(high, component[given], codes[given])
    return np.flatnonzero(low < high)


def _split_components(
    component: NDArray[np.int64],
    broken: NDArray[np.bool_],
    proofs: Sequence[Edges],
    forbidden: Sequence[NDArray[np.int64]],
) -> None:
    """Rebuilds broken components edge by edge, in place."""
    inside = np.flatnonzero(broken[component])
    parent = {int(row): int(row) for row in inside}
    values = {int(row): [int(codes[row]) for codes in forbidden] for row in inside}

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    taken: list[tuple[float, int, int, int]] = []
    for rank, edges in enumerate(proofs):
        hit = broken[component[edges.a]]
        strength = (-edges.weight[hit]).tolist()
        taken += zip(
            strength, repeat(rank), edges.a[hit].tolist(), edges.b[hit].tolist(), strict=False
        )
    for _, _, a, b in sorted(taken):
        x, y = root(a), root(b)
        if x == y or not _agree(values[x], values[y]):
            continue
        keep, gone = min(x, y), max(x, y)
        parent[gone] = keep
        values[keep] = [max(p, q) for p, q in zip(values[keep], values[gone], strict=True)]
    offset = int(component.max()) + 1
    for row in inside.tolist():
        component[row] = offset + root(row)


def _agree(values: list[int], others: list[int]) -> bool:
    return all(p == q or p < 0 or q < 0 for p, q in zip(values, others, strict=True))


class _AverageLinkage:
    """Merges components by the mean score of the pairs between them, in place."""

    def __init__(
        self,
        component: NDArray[np.int64],
        forbidden: Sequence[NDArray[np.int64]],
        scores: Scores,
        most: int,
    ) -> None:
        self.component = component
        self.most = most
        places, self.start = np.unique(component, return_inverse=True)
        a, b = self.start[scores.a], self.start[scores.b]
        # Only groups that a positive score ties, directly or by way of others, can ever merge.
        up = scores.score > 0
        graph = coo_matrix((np.ones(int(up.sum()), np.int8), (a[up], b[up])), (len(places),) * 2)
        tied = connected_components(graph, directed=False)[1]
        use = (tied[a] == tied[b]) & (a != b)
        low, high = np.minimum(a[use], b[use]), np.maximum(a[use], b[use])
        pairs, at = np.unique(low * len(places) + high, return_inverse=True)
        # Summed in a set order, or the last digit would depend on the order of the pairs.
        order = np.lexsort((scores.b[use], scores.a[use]))
        sums = np.bincount(at[order], scores.score[use][order].astype(np.float64))
        self.sums: dict[int, dict[int, float]] = {}
        for x, y, total in zip(
            *(part.tolist() for part in (*np.divmod(pairs, len(places)), sums)), strict=True
        ):
            self.sums.setdefault(x, {})[y] = total
            self.sums.setdefault(y, {})[x] = total
        self.size: list[int] = np.bincount(self.start).tolist()
        values = [np.full(len(places), -1) for _ in forbidden]
        for value, codes in zip(values, forbidden, strict=True):
            np.maximum.at(value, self.start, codes)
        inside = list(self.sums)
        columns = [value[inside].tolist() for value in values]
        self.values = {g: [column[i] for column in columns] for i, g in enumerate(inside)}

    def run(self) -> None:
        into: dict[int, int] = {}
        heap = [
            (-mean, x, y)
            for x, others in self.sums.items()
            for y in others
            if x < y and (mean := self._mean(x, y)) > 0
        ]
        heapq.heapify(heap)
        while heap:
            mean, x, y = heapq.heappop(heap)
            # Of groups that have changed since, a newer entry is in the heap.
            if y not in self.sums.get(x, ()) or self._mean(x, y) != -mean:
                continue
            if self.size[x] + self.size[y] > self.most:
                continue
            if not _agree(self.values[x], self.values[y]):
                continue
            self._merge(x, y)
            into[y] = x
            for z in self.sums[x]:
                if (mean := self._mean(x, z)) > 0:
                    heapq.heappush(heap, (-mean, min(x, z), max(x, z)))
        if into:
            last = np.arange(len(self.size))
            for gone in sorted(into, reverse=True):
                last[gone] = into[gone]
            while (last[last] != last).any():
                last = last[last]
            self.component[:] = last[self.start]

    def _mean(self, x: int, y: int) -> float:
        return self.sums[x][y] / (self.size[x] * self.size[y])

    def _merge(self, x: int, y: int) -> None:
        """Takes group y into group x, the smaller number."""
        self.size[x] += self.size[y]
        self.values[x] = [max(p, q) for p, q in zip(self.values[x], self.values[y], strict=True)]
        mine, theirs = self.sums[x], self.sums.pop(y)
        del mine[y], theirs[x]
        for z, total in theirs.items():
            mine[z] = mine.get(z, 0.0) + total
            others = self.sums[z]
            del others[y]
            others[x] = mine[z]


def _by_first_item(component: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
