"""IDs that look alike are linked, by the cosine of what their items look like on average."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance.links import look_alike_links
from oclear.governance.merge import Merge

VECTORS = np.array([[0, 0], [1, 0], [0, 1], [1, 0.5], [1, 1.1], [-1, 0.2]], float)


def linked(make, vectors, group, ids, gate):
    merge = Merge(np.asarray(group, np.int64))
    table = look_alike_links(merge, np.asarray(ids, np.int64), make.looks(vectors, []), gate)
    return {(row["id_a"], row["id_b"]): row["weight"] for row in table.to_pylist()}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.data())
def test_links_are_what_a_loop_finds(make, rows, data):
    group = np.unique(
        data.draw(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows))),
        return_inverse=True,
    )[1]
    group = np.unique(group, return_inverse=True)[1]
    vectors = VECTORS[rows]
    count = group.max() + 1
    ids = 10 + 7 * np.arange(count)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centres = np.stack([unit[group == g].sum(axis=0) for g in range(count)])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    cosine = centres @ centres.T
    wanted = {
        (int(ids[a]), int(ids[b])): cosine[a, b]
        for a in range(count)
        for b in range(a + 1, count)
        if cosine[a, b] >= 0.75
    }
    found = linked(make, vectors, group, ids, 0.75)
    assert found.keys() == wanted.keys()
    for pair, weight in found.items():
        np.testing.assert_allclose(weight, wanted[pair], atol=1e-5)


def test_ids_without_any_picture_have_no_links(make):
    assert linked(make, np.zeros((3, 2)), [0, 1, 2], [0, 1, 2], 0.01) == {}


def test_one_id_has_no_link_to_itself(make):
    assert linked(make, [[1, 0], [1, 0]], [0, 0], [4], 0.5) == {}


def test_the_table_says_what_kind_of_tie_it_is(make):
    table = look_alike_links(
        Merge(np.array([0, 1])), np.array([3, 9]), make.looks([[1, 0], [1, 0]], []), 0.8
    )
    assert table.to_pylist() == [{"id_a": 3, "id_b": 9, "kind": "look_alike", "weight": 1.0}]
