"""Which queries belong to which groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Memberships:
    """Which queries belong to which groups; a query may belong to several.

    Args:
        query: (n,) rows of the queries.
        group: (n,) group numbers.
        weight: (n,) float32 in (0, 1].
        evidence: (n,) why.
        left_out: How many queries are in no group, for which reason.
    """

    query: NDArray[np.int64]
    group: NDArray[np.int64]
    weight: NDArray[np.float32]
    evidence: NDArray[np.object_]
    left_out: dict[str, int]

    @classmethod
    def of(cls, assignment: Assignment) -> Memberships:
        """The memberships of an assignment, query by query, a query's best group first."""
        rows = np.flatnonzero(assignment.group >= 0)
        also = assignment.also
        query = np.concatenate([rows, also.query])
        order = np.argsort(query, kind="stable")
        return cls(
            query[order],
            np.concatenate([assignment.group[rows], also.group])[order],
            np.concatenate([assignment.weight[rows], also.weight])[order],
            np.concatenate([assignment.evidence[rows], np.full(len(also), "click", object)])[order],
            assignment.left_out,
        )


@dataclass(frozen=True, eq=False)
class Further:
    """Further groups of queries that have one.

    Args:
        query: (n,) rows of the queries, ascending.
        group: (n,) a group that the query clicked, other than its best one.
        weight: (n,) float32 in (0, 1], how sure.
    """

    query: NDArray[np.int64]
    group: NDArray[np.int64]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.query)

    @classmethod
    def none(cls) -> Further:
        """No query has a further group."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


_NONE = Further.none()


@dataclass(frozen=True, eq=False)
class Assignment:
    """The groups of queries.

    Args:
        group: (queries,) the best group of each query, -1 where it is left out.
        weight: (queries,) float32 in [0, 1], how sure.
        evidence: (queries,) ``click``, ``neighbours`` (clicked otherwise, or not at all), or empty.
        left_out: How many were left out for which reason.
        noise_share: Estimated share of the clicks that are on something else than their photo shows, in [0, 1];
            each photo counts one, whatever it clicked; NaN where nothing was clicked.
        also: Further groups of photos of several things.
    """

    group: NDArray[np.int64]
    weight: NDArray[np.float32]
    evidence: NDArray[np.object_]
    left_out: dict[str, int]
    noise_share: float = float("nan")
    also: Further = _NONE
