"""The position bias, estimated from what was seen at several positions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.datasets import SimulationConfig, simulate_exposures
from oclear.governance.clicks import click_support
from oclear.governance.examination import position_examination
from oclear.tables import Truth, index_of


@pytest.mark.parametrize("bias", [0.0, 0.5, 1.0])
def test_a_known_position_bias_is_recovered(make, bias):
    """All clicks fall on items in random order, so position is the only thing that orders them."""
    items, queries = make.items(60), make.queries(40_000)
    truth = Truth(
        items.path, pa.table({"query_id": queries.table["query_id"], "item_id": ["i000"] * 40_000})
    )
    config = SimulationConfig(
        wrong=1.0, look_alike=0.0, found=0.0, position_bias=bias, clicks=0.5, list_length=10
    )
    found = position_examination(simulate_exposures(items, queries, truth, config)).curve
    expected = 1 / np.arange(1, 11) ** bias
    np.testing.assert_allclose(found, expected, atol=0.07)
    if bias:
        assert (np.diff(found[:5]) < 0).all(), "the order of the first positions is kept"


def two_items(make, searches=20_000):
    """Two items of very different worth, shown at both positions, but the better one mostly first."""
    rng = np.random.default_rng(0)
    rows = []
    for search, first in enumerate((rng.random(searches) < 0.8).tolist()):
        for position, item in enumerate(("good", "bad") if first else ("bad", "good")):
            chance = (0.6 if item == "good" else 0.1) * (1.0, 0.5)[position]
            rows.append((f"q{search}", item, position, bool(rng.random() < chance)))
    return make.log(rows).table


def test_good_items_that_stand_first_are_not_taken_for_position_bias(make):
    log = two_items(make)
    clicked = log["clicked"].to_numpy()
    raw = clicked[1::2].mean() / clicked[::2].mean()
    found = position_examination(log)
    assert raw < 0.3
    assert found.curve[0] == 1
    assert found.curve[1] == pytest.approx(0.5, abs=0.03)
    assert (found.compared, found.seen_at_several, found.exposures) == ("item", 2, 40_000)
    assert found.clicks.sum() == clicked.sum()


def test_items_that_stand_first_where_they_fit_the_photo_need_groups_of_photos(make):
    """No bias at all, but the search puts first what the photo shows: only like photos can tell."""
    rng = np.random.default_rng(0)
    rows, groups = [], []
    for search in range(8_000):
        right, other = ("a", "b") if search % 2 else ("b", "a")
        swapped = rng.random() < 0.2
        for position, item in enumerate((other, right) if swapped else (right, other)):
            chance = 0.5 if item == right else 0.1
            rows.append((f"q{search}", item, position, bool(rng.random() < chance)))
            groups.append(search % 2)
    log = make.log(rows)
    alone = position_examination(log.table)
    grouped = position_examination(log.table, np.array(groups))
    assert alone.compared == "item"
    assert alone.curve[1] < 0.7
    assert (grouped.compared, grouped.seen_at_several) == ("photo and item", 4)
    assert grouped.curve.min() > 0.9

    queries = make.queries([f"q{k}" for k in range(8_000)])
    support = click_support(log, queries, make.items(["a", "b"]), np.arange(8_000) % 2)
    np.testing.assert_array_equal(support.examination, grouped.curve)
    assert support.positions.compared == "photo and item"


def test_groups_are_those_of_the_queries_that_count(make):
    """A photo of the log that is not among the queries is like no other."""
    log = two_items(make, 2_000)
    ids = log["query_id"].to_pylist()
    known = make.queries(sorted(set(ids))[:500])
    exposures = make.log([("x", "x", 0, False)])
    exposures = type(exposures)(exposures.path, log)
    support = click_support(exposures, known, make.items(["good", "bad"]), np.zeros(500, np.int64))
    asked = index_of(log["query_id"], known.table["query_id"]) >= 0
    assert support.positions.clicks.sum() == (log["clicked"].to_numpy() & asked).sum() > 0


def test_what_is_seen_at_one_position_says_nothing(make):
    log = two_items(make, 3_000)
    still = make.log([(f"s{k}", f"still{k % 7}", 0, True) for k in range(5_000)]).table
    alone = position_examination(log)
    both = position_examination(pa.concat_tables([log, still]))
    np.testing.assert_array_equal(alone.curve, both.curve)
    assert position_examination(still).compared == "nothing"


def test_the_order_of_rows_makes_no_difference(make):
    log = two_items(make, 2_000)
    order = np.random.default_rng(1).permutation(len(log))
    found = position_examination(log.take(pa.array(order)))
    np.testing.assert_allclose(found.curve, position_examination(log).curve, rtol=1e-4)
    again = position_examination(log)
    np.testing.assert_array_equal(again.curve, position_examination(log).curve)


def test_thin_data_give_a_smooth_curve(make):
    """A few hundred clicks over thirty positions: far fewer ups and downs than the plain rates have."""
    rng = np.random.default_rng(3)
    rows = [
        (f"q{search}", f"i{item}", position, bool(rng.random() < 0.3 / (position + 1)))
        for search in range(300)
        for position, item in enumerate(rng.permutation(40)[:30].tolist())
    ]
    log = make.log(rows).table
    found = position_examination(log)
    plain = np.bincount(log["position"], log["clicked"])
    true = 1 / np.arange(1, 31)
    assert found.clicks.sum() < 400
    errors = [
        np.abs(np.log(np.maximum(c, 0.01) / true)).mean() for c in (found.curve, plain / plain[0])
    ]
    assert errors[0] < 0.5 * errors[1]


def test_positions_with_little_data_and_huge_ones_are_no_trouble(make):
    log = make.log([("q0", "a", 0, True), ("q0", "b", 2**31 - 1, True), ("q1", "a", 3, False)])
    found = position_examination(log.table).curve
    assert len(found) == 1001
    assert ((found > 0) & (found <= 1)).all() and found.max() == 1
    support = click_support(log, make.queries(["q0", "q1"]), make.items(["a", "b"]))
    assert support.matrix.nnz == support.clicks == 2


def test_all_clicked_or_none_is_no_bias(make):
    rows = [(f"q{k}", "ab"[(k + p) % 2], p) for k in range(200) for p in range(2)]
    for clicked in (True, False):
        found = position_examination(make.log([(*row, clicked) for row in rows]).table)
        np.testing.assert_allclose(found.curve, 1, atol=1e-4)
        assert found.compared == ("item" if clicked else "nothing")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=25,
    )
)
def test_any_tiny_log_has_a_curve(make, rows):
    log = make.log([(f"q{q}", f"i{i}", p, c) for q, i, p, c in rows]).table
    found = position_examination(log)
    assert found.curve.shape == found.clicks.shape == (max(p for _, _, p, _ in rows) + 1,)
    assert ((found.curve > 0) & (found.curve <= 1)).all() and found.curve.max() == 1
    assert found.clicks.sum() <= sum(c for *_, c in rows)
