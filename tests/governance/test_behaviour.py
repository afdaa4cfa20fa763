"""Clicks corrected for their position, and items tied by what they were clicked for."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance.clicks import click_support
from oclear.governance.evidence.co_clicks import behaviour_edges

GATES = {"query_gate": 0.6, "item_gate": 0.8, "least_queries": 3}


def weights(make, propensity=None, purchased=None, positions=(0, 0)):
    columns = {}
    if propensity is not None:
        columns["propensity"] = pa.array(propensity, pa.float64())
    if purchased is not None:
        columns["purchased"] = pa.array(purchased, pa.bool_())
    rows = [("q0", "a", positions[0], True), ("q1", "b", positions[1], True)]
    support = click_support(
        make.log(rows, **columns), make.queries(["q0", "q1"]), make.items(["a", "b"])
    )
    return support.matrix.toarray().diagonal().tolist()


def test_a_given_propensity_is_used_and_capped(make):
    assert weights(make, propensity=[0.5, 0.01]) == pytest.approx([2, 3])


def test_where_the_propensity_is_not_given_the_position_counts(make):
    first, second = weights(make, propensity=[0.5, None])
    assert (first, second) == pytest.approx((2, weights(make)[1]))


def test_a_purchase_counts_twice(make):
    assert weights(make, purchased=[True, None]) == pytest.approx([2, 1])


def test_only_clicks_of_known_queries_count(make):
    log = make.log([("q0", "a", 0, True), ("other", "a", 0, True), ("q0", "b", 1, False)])
    support = click_support(log, make.queries(["q0"]), make.items(["a", "b"]))
    assert support.matrix.toarray().tolist() == [[1.0, 0.0]]
    assert (support.clicks, support.exposures) == (1, 3)


def test_searches_of_one_photo_add_up(make):
    rows = [("q0", "a", 0, True), ("q0", "a", 0, True)]
    log = make.log(rows)
    assert click_support(log, make.queries(["q0"]), make.items(["a"])).matrix[0, 0] == 2


def tied(make, clicks, photos, items, **gates):
    """Pairs tied by (photo, item) clicks."""
    queries, catalogue = make.queries(len(photos)), make.items(len(items))
    log = make.log([(queries.ids[q], catalogue.ids[i], 0, True) for q, i in clicks])
    support = click_support(log, queries, catalogue)
    edges = behaviour_edges(support, make.looks(items, photos), **(GATES | gates))
    return list(zip(edges.a.tolist(), edges.b.tolist(), strict=True))


ALIKE, OTHER = [[1, 0.1], [1, -0.1]], [[1, 0], [0, 1]]


def test_items_that_look_alike_and_are_clicked_for_near_photos_are_tied(make):
    clicks = [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert tied(make, clicks, [[1, 0]] * 4, ALIKE) == [(0, 1)]


def test_clicks_alone_tie_nothing(make):
    clicks = [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert tied(make, clicks, [[1, 0]] * 4, OTHER) == []
    assert tied(make, clicks, [[1, 0]] * 4, [[0, 0], [0, 0]]) == []


def test_likeness_alone_ties_nothing(make):
    assert tied(make, [(0, 0), (1, 0)], [[1, 0], [1, 0]], ALIKE) == []
    apart = [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert tied(make, [(0, 0), (1, 0), (2, 1), (3, 1)], apart, ALIKE) == []


def test_several_clicked_photos_must_agree(make):
    clicks = [(0, 0), (0, 1)]
    assert tied(make, clicks, [[1, 0]] * 5, ALIKE) == [], "photos without clicks say nothing"
    assert tied(make, [*clicks, (1, 0)], [[1, 0]] * 2, ALIKE) == []
    assert tied(make, [*clicks, (1, 0), (2, 0)], [[1, 0]] * 3, ALIKE) == [(0, 1)]


def test_photos_without_a_picture_are_near_nothing(make):
    clicks = [(0, 0), (1, 1), (2, 0), (3, 1)]
    assert tied(make, clicks, [[0, 0]] * 4, ALIKE) == []


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 4)), min_size=1, max_size=30),
    st.lists(st.integers(0, 72), min_size=5, max_size=5),
    st.lists(st.sampled_from([0, 10, 90, None]), min_size=8, max_size=8),
)
def test_behaviour_never_ties_what_does_not_look_alike(make, clicks, items, photos):
    def vector(degrees):
        return (
            [0, 0]
            if degrees is None
            else [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]
        )

    vectors = [vector(5 * d) for d in items]
    found = tied(make, clicks, [vector(d) for d in photos], vectors, least_queries=1)
    for a, b in itertools.combinations(range(5), 2):
        if (a, b) in found:
            assert np.dot(vectors[a], vectors[b]) >= 0.8 - 1e-6
            assert {a, b} <= {i for _, i in clicks}
