"""The few groups that each photo may show, as pairs; everything is computed for those alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class Pairs:
    """Photos and groups they may show.

    Args:
        photo: (pairs,) rows of photos, ascending.
        group: (pairs,) groups, ascending within a photo, none twice.
        photos: How many photos there are.
        groups: How many groups there are.
    """

    photo: NDArray[np.int64]
    group: NDArray[np.int64]
    photos: int
    groups: int

    @classmethod
    def entries_of(cls, matrices: list[csr_matrix]) -> Pairs:
        """All entries that any of the (photos, groups) matrices has."""
        photos, groups = matrices[0].shape
        keys = np.unique(np.concatenate([_keys(matrix) for matrix in matrices]))
        photo, group = np.divmod(keys, max(groups, 1))
        return cls(photo, group, photos, groups)

    def values_of(self, matrix: csr_matrix) -> NDArray[np.float64]:
        """(pairs,) the entries of a (photos, groups) matrix, 0 where it has none."""
        matrix = matrix.sorted_indices()
        wanted, keys = self.photo * self.groups + self.group, _keys(matrix)
        if len(keys) == 0:
            return np.zeros(len(wanted))
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, matrix.data[place], 0).astype(np.float64)

    def sums(self, values: NDArray[np.floating] | NDArray[np.bool_]) -> NDArray[np.float64]:
        """(photos,) sum over the pairs of each photo."""
        return np.asarray(np.bincount(self.photo, values, minlength=self.photos), np.float64)

    def sums_by_group(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(groups,) sum over the pairs of each group."""
        return np.asarray(np.bincount(self.group, values, minlength=self.groups), np.float64)

    def largest(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """(photos,) largest over the pairs of each photo, minus infinity where it has none."""
        found = np.full(self.photos, -np.inf)
        np.maximum.at(found, self.photo, values)
        return found

    def best(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """(photos,) the pair with the largest value of each photo, the first of equal ones, -1 without a pair."""
        largest = np.flatnonzero(values == self.largest(values)[self.photo])[::-1]
        found = np.full(self.photos, -1)
        found[self.photo[largest]] = largest  # of equal ones, the one written last stays
        return found

    def shares(
        self, scores: NDArray[np.float64], nothing: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(pairs,) exp(scores), divided by their sum over each photo and exp(nothing).

        Args:
            scores: (pairs,) logarithms.
            nothing: (photos,) logarithm of what the photo weighs for none of its groups.
        """
        top = np.maximum(self.largest(scores), nothing)
        weights = np.exp(scores - top[self.photo])
        shares: NDArray[np.float64] = (
            weights / (self.sums(weights) + np.exp(nothing - top))[self.photo]
        )
        return shares


def _keys(matrix: csr_matrix) -> NDArray[np.int64]:
    """(entries,) one number for the place of each entry; ascending where the matrix is sorted."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    keys: NDArray[np.int64] = rows * matrix.shape[1] + matrix.indices
    return keys
