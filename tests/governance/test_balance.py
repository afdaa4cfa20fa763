"""Head IDs are capped: the surest photos stay, and the rest is counted."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance.assign import Memberships
from oclear.governance.balance import cap_heads

MEMBER = st.tuples(st.integers(0, 12), st.integers(0, 3), st.sampled_from([0.25, 0.5, 1.0]))
MEMBERS = st.lists(MEMBER, max_size=40, unique_by=lambda row: row[:2])


def memberships(rows, left_out=None):
    query, group, weight = (np.array([row[i] for row in rows]) for i in range(3))
    return Memberships(
        query.astype(np.int64),
        group.astype(np.int64),
        weight.astype(np.float32),
        np.array([f"reason of {row[:2]}" for row in rows], object),
        {} if left_out is None else left_out,
    )


def rows_of(found):
    return list(zip(found.query.tolist(), found.group.tolist(), found.weight.tolist(), strict=True))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(MEMBERS, st.integers(1, 6))
def test_the_surest_stay_and_the_rest_is_counted(rows, most):
    before = {"no picture": 2}
    found = cap_heads(memberships(rows, before), most)

    stays = []
    for group in range(4):
        mine = sorted((row for row in rows if row[1] == group), key=lambda row: (-row[2], row[0]))
        stays += mine[:most]
    assert rows_of(found) == [row for row in rows if row in stays], "in the order they were in"
    assert found.evidence.tolist() == [f"reason of {row[:2]}" for row in rows if row in stays]

    gone = {row[0] for row in rows} - {row[0] for row in stays}
    counted = {"its ID has enough photos": len(gone)} if len(stays) < len(rows) else {}
    assert found.left_out == before | counted
    assert before == {"no picture": 2}, "what was given is not changed"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(MEMBERS, st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_decides_nothing_and_once_is_enough(rows, most, random):
    once = cap_heads(memberships(rows), most)
    assert rows_of(cap_heads(once, most)) == rows_of(once)
    random.shuffle(rows)
    assert sorted(rows_of(cap_heads(memberships(rows), most))) == sorted(rows_of(once))


def test_nothing_to_cap():
    assert rows_of(cap_heads(memberships([]), 3)) == []
    whole = memberships([(0, 0, 1.0), (1, 0, 0.5)])
    assert cap_heads(whole, 2) is whole
