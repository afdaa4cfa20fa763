import numpy as np
import pytest

from oclear.store.memory.accelerator import Accelerator, nearest_among

DIM = 6


@pytest.fixture(scope="module")
def vectors(make):
    return make.unit(np.random.default_rng(0), 400, DIM)


@pytest.fixture(scope="module")
def built(vectors):
    return Accelerator.build(vectors)


def brute_force(query, vectors, rows, count):
    return set(rows[np.argsort(-(vectors[rows] @ query))[:count]].tolist())


def test_candidates_hold_nearly_all_of_the_nearest(built, vectors, make):
    queries = make.unit(np.random.default_rng(1), 30, DIM)
    found = built.candidates(queries, 10)
    assert found.shape == (30, built.depth)
    shares = [
        len(brute_force(query, vectors, np.arange(400), 10) & set(row.tolist())) / 10
        for query, row in zip(queries, found, strict=True)
    ]
    assert np.mean(shares) > 0.95


def test_only_rows_that_pass_are_candidates(built, vectors):
    passing = np.arange(400) % 7 == 3
    bits = np.packbits(passing, bitorder="little")
    found = built.candidates(vectors[:5], 10, bits, passing.mean())
    assert passing[found[found >= 0]].all()
    assert (found >= 0).sum() > 50


def test_more_rows_are_added_beside_what_is_searched(built, vectors, make):
    more = np.concatenate([vectors, make.unit(np.random.default_rng(2), 40, DIM)])
    longer = built.extended(more)
    assert (built.rows, longer.rows) == (400, 440)
    own = longer.candidates(more[420:421], 10)[0]
    assert 420 in own
    assert built.candidates(more[420:421], 10).max() < 400


def test_vectors_of_an_odd_length_too(make):
    vectors = make.unit(np.random.default_rng(3), 150, 5)
    assert 7 in Accelerator.build(vectors).candidates(vectors[7:8], 10)[0]


@pytest.mark.parametrize("count", [1, 10, 100])
def test_nearest_among_some_rows_is_exact(vectors, count):
    rows = np.sort(np.random.default_rng(4).permutation(400)[:60]).astype(np.int64)
    query = vectors[5] + vectors[9]
    found, products = nearest_among(query, vectors, rows, count)
    assert len(found) == min(count, 60)
    assert products == pytest.approx(vectors[found] @ query, abs=1e-6)
    assert (np.diff(products) <= 0).all()
    assert set(found.tolist()) == brute_force(query, vectors, rows, count)
