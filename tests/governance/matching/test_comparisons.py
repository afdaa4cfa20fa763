"""Comparisons against plain loops, and what is not stated stays not stated."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from oclear.governance.matching import comparisons
from oclear.governance.matching.comparisons import (
    Comparisons,
    compare_columns,
    compare_quantities,
    cosines,
    distances,
    shared_words,
)

RNG = np.random.default_rng(4)
VECTORS = RNG.normal(size=(12, 3)).astype(np.float32)
VECTORS[5] = 0
A, B = (rows.astype(np.int64) for rows in np.triu_indices(12, 1))
UNKNOWN = (A == 5) | (B == 5)


@pytest.fixture(params=[100_000, 7])
def at_once(request, monkeypatch):
    """Many pairs are compared piece by piece."""
    monkeypatch.setattr(comparisons, "_PAIRS_AT_ONCE", request.param)


@pytest.mark.usefixtures("at_once")
def test_cosines_and_distances():
    found = cosines(VECTORS, A, B)
    wanted = [
        VECTORS[a] @ VECTORS[b] / np.linalg.norm(VECTORS[a]) / np.linalg.norm(VECTORS[b])
        for a, b in zip(A[~UNKNOWN], B[~UNKNOWN], strict=True)
    ]
    np.testing.assert_allclose(found[~UNKNOWN], wanted, atol=1e-6)
    assert np.isnan(found[UNKNOWN]).all()
    found = distances(VECTORS, A, B)
    wanted = np.log1p(((VECTORS[A] - VECTORS[B]) ** 2).sum(axis=1))
    np.testing.assert_allclose(found[~UNKNOWN], wanted[~UNKNOWN], rtol=1e-5)
    assert np.isnan(found[UNKNOWN]).all()


@pytest.mark.usefixtures("at_once")
def test_shared_words():
    words = np.where(RNG.random((12, 6)) < 0.4, RNG.random((12, 6)), 0).astype(np.float32)
    words[5] = 0
    known = words.any(axis=1)
    found = shared_words(csr_matrix(words), A, B)
    wanted = np.where(known[A] & known[B], (words[A] * words[B]).sum(axis=1), np.nan)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_attributes_of_every_kind(make):
    nan = np.nan
    items = make.items(
        4,
        price=[10.0, 20.0, None, 10.0],
        balance=[0, -3, 2, None],
        color=pa.array(["Red ", "red", "blue", None]),
        new=[True, False, None, True],
        tags=pa.array([["a"], ["a"], [], None]),
    )
    a, b = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 2])
    found = compare_columns(items, ("price", "balance", "color", "new", "tags"), a, b)
    compared = ("column price", "column balance", "column color", "column new")
    assert found.names == compared, "lists are left out"
    wanted = [
        [np.log(2), nan, 0, nan],  # the ratio of numbers above zero
        [3, 2, nan, 5],  # the difference of others
        [1, 0, nan, 0],
        [0, nan, 1, nan],
    ]
    np.testing.assert_allclose(found.values.T, wanted, rtol=1e-6)


def test_numbers_that_say_nothing_and_exact_ones(make):
    items = make.items(
        4,
        price=[10.0, np.inf, 20.0, np.nan],
        tax=pa.array(["1.50", "3.00", None, "1.50"]).cast(pa.decimal128(8, 2)),
    )
    found = compare_columns(items, ("price", "tax"), np.array([0, 0, 0]), np.array([1, 2, 3]))
    nan = np.nan
    wanted = [[nan, np.log(2), nan], [np.log(2), nan, 0]]
    np.testing.assert_allclose(found.values.T, wanted, rtol=1e-6)


def test_no_attributes(make):
    a = b = np.zeros(3, np.int64)
    assert compare_columns(make.items(1), (), a, b).values.shape == (3, 0)


def test_comparisons_stand_side_by_side():
    left = Comparisons.of({"x": np.array([1.0, 2.0])}, 2)
    both = left.beside(Comparisons.of({}, 2)).beside(Comparisons.of({"y": np.array([3, 4])}, 2))
    assert both.names == ("x", "y")
    assert both.values.tolist() == [[1, 3], [2, 4]] and both.values.dtype == np.float32


QUANTITY = st.sampled_from(["34 cm", "34cm", "34.0 cm", "52 cm", "500 ml", "0,5 l", "2%", '5"'])
TEXTS = st.lists(st.lists(QUANTITY, max_size=3).map(", ".join), min_size=2, max_size=6)


def stated(text):
    """Unit -> the first number, of texts made of QUANTITY."""
    found = {}
    for part in filter(None, text.split(", ")):
        number = part.rstrip('cml%" ')
        found.setdefault(part[len(number) :].strip(), float(number.replace(",", ".")))
    return found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(TEXTS)
def test_quantities_agree_where_all_shared_ones_do(texts):
    a, b = (rows.astype(np.int64) for rows in np.triu_indices(len(texts), 1))
    wanted = []
    for x, y in zip(a, b, strict=True):
        one, two = stated(texts[x]), stated(texts[y])
        shared = one.keys() & two.keys()
        agree = all(one[unit] == two[unit] for unit in shared)
        wanted.append(float(agree) if shared else np.nan)
    np.testing.assert_array_equal(compare_quantities(texts, a, b), wanted)
    np.testing.assert_array_equal(compare_quantities(texts, b, a), wanted)


def test_numbers_inside_words_are_no_quantities():
    texts = ["model x34 cm", "12.34.56 mm", "size 40 classic"] * 2
    a, b = np.array([0, 1, 2]), np.array([3, 4, 5])
    assert np.isnan(compare_quantities(texts, a, b)).all()


def test_a_unit_that_hardly_any_item_states_is_not_compared():
    texts = ["3 kg", "4 kg"] + [""] * 300
    assert np.isnan(compare_quantities(texts, np.array([0]), np.array([1]))).all()
    assert compare_quantities(texts[:100], np.array([0]), np.array([1])).tolist() == [0]


def test_thousands_are_numbers_however_they_are_written():
    texts = ["1,000 ml", "1000 ml", "1 ml", "2,5 l", "2.5l"]
    found = compare_quantities(texts, np.array([0, 0, 3]), np.array([1, 2, 4]))
    assert found.tolist() == [1, 0, 1]
