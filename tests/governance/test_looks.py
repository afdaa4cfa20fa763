"""The nearest of many vectors."""

import numpy as np
import pytest

from oclear.governance import looks, normalized
from oclear.governance.looks import nearest


@pytest.fixture
def listings():
    """Three listings of each of 500 products."""
    rng = np.random.default_rng(0)
    products = rng.standard_normal((500, 32)).astype(np.float32)
    return normalized(
        np.repeat(products, 3, axis=0) + 0.3 * rng.standard_normal((1500, 32)).astype(np.float32)
    )


def test_neighbours_are_those_of_the_definition(listings):
    similarity, rows = nearest(listings, listings, 5)
    all_similarities = listings @ listings.T
    expected = -np.sort(-all_similarities, axis=1)[:, :5]
    np.testing.assert_allclose(similarity, expected, atol=1e-5)
    np.testing.assert_allclose(
        np.take_along_axis(all_similarities, rows, axis=1), expected, atol=1e-5
    )


def test_among_many_the_listings_of_one_product_are_still_found(listings, monkeypatch):
    monkeypatch.setattr(looks, "_EXACT_MOST", 100)
    similarity, rows = nearest(listings, listings, 5)
    product = np.arange(1500) // 3
    siblings = (product[rows[:, :3]] == product[:, None]).mean()
    assert siblings > 0.98
    again = nearest(listings, listings, 5)
    np.testing.assert_array_equal(rows, again[1])
    assert (rows >= 0).all() and (np.diff(similarity, axis=1) <= 1e-6).all()


def test_fewer_rows_than_asked_for_repeat_the_nearest(monkeypatch):
    monkeypatch.setattr(looks, "_EXACT_MOST", 3)
    monkeypatch.setattr(looks, "_LISTS_SEARCHED", 1)
    vectors = normalized(np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32))
    similarity, rows = nearest(vectors, vectors, 30)
    assert (rows >= 0).all() and np.isfinite(similarity).all()
