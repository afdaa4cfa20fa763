"""Sums and best groups over the pairs of each photo."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from oclear.governance.assign.pairs import Pairs

FIRST = csr_matrix(np.array([[0, 2, 0], [0, 0, 0], [3, 0, 0]]))
SECOND = csr_matrix(np.array([[0, 5, 7], [0, 0, 0], [0, 0, 4]]))


@pytest.fixture
def pairs():
    return Pairs.entries_of([FIRST, SECOND])


def test_each_entry_is_one_pair_in_order(pairs):
    assert list(zip(pairs.photo, pairs.group, strict=True)) == [(0, 1), (0, 2), (2, 0), (2, 2)]
    assert (pairs.photos, pairs.groups) == (3, 3)


def test_values_of_a_matrix_are_zero_where_it_has_none(pairs):
    assert pairs.values_of(FIRST).tolist() == [2, 0, 3, 0]
    assert pairs.values_of(SECOND).tolist() == [5, 7, 0, 4]
    assert pairs.values_of(csr_matrix((3, 3))).tolist() == [0, 0, 0, 0]


def test_sums_and_largest_by_photo(pairs):
    values = np.array([1.0, 2.0, 4.0, 3.0])
    assert pairs.sums(values).tolist() == [3, 0, 7]
    assert pairs.sums_by_group(values).tolist() == [4, 1, 5]
    assert pairs.largest(values).tolist() == [2, -np.inf, 4]


def test_best_is_the_first_of_equal_ones(pairs):
    assert pairs.best(np.array([1.0, 1.0, 2.0, 3.0])).tolist() == [0, -1, 3]


def test_shares_with_what_none_of_the_groups_gets(pairs):
    scores = np.log([1.0, 2.0, 3.0, 5.0]) + 900  # far beyond what exp can hold
    shares = pairs.shares(scores, np.log([1.0, 1.0, 2.0]) + 900)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.3, 0.5])
