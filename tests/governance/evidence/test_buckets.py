"""Buckets: all pairs of a small one, few of a large one."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oclear.governance.evidence.buckets import band_buckets, pairs_in_buckets


@given(st.lists(st.integers(0, 4), max_size=25), st.integers(1, 30))
def test_pairs_are_those_of_one_bucket_and_all_of_them_up_to_the_window(buckets, window):
    bucket = np.array(buckets, np.int64)
    a, b = pairs_in_buckets(bucket, window)
    found = list(zip(a.tolist(), b.tolist(), strict=True))
    assert len(set(found)) == len(found) <= window * len(bucket)
    for value in set(buckets):
        rows = np.flatnonzero(bucket == value).tolist()
        place = {row: n for n, row in enumerate(rows)}
        expected = [
            p for p in itertools.combinations(rows, 2) if place[p[1]] - place[p[0]] <= window
        ]
        assert sorted(p for p in found if p[0] in place) == expected


def test_rows_that_agree_in_a_band_share_a_bucket():
    signatures = np.array([[1, 2, 3], [1, 2, 4], [9, 2, 3]], np.uint32)
    first, last = band_buckets(signatures, 0, 2), band_buckets(signatures, 1, 2)
    assert first[0] == first[1] != first[2]
    assert last[0] == last[2] != last[1]
    assert len(band_buckets(np.empty((0, 4), np.uint8), 0, 2)) == 0
