"""The gap between photos and documents, on vectors of which it is known."""

import numpy as np
import pytest

from oclear.evaluation.gap import side_gap


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def things():
    return np.random.default_rng(0).normal(size=(60, 16))


ITEMS = np.arange(60)


def test_sides_of_one_distribution_cannot_be_told_apart(things):
    rng = np.random.default_rng(1)
    gap = side_gap(unit(things), unit(rng.normal(size=(60, 16))), ITEMS, ITEMS)
    assert 0.25 < gap.told_apart < 0.75
    assert gap.centre_distance < 0.4


def test_sides_that_are_the_same_are_told_apart_by_chance(things):
    """However alike: a photo says nothing of its own document's side."""
    near = things + 0.2 * np.random.default_rng(1).normal(size=things.shape)
    for documents in (things, near):
        assert side_gap(unit(things), unit(documents), ITEMS, ITEMS).told_apart == pytest.approx(
            0.5, abs=0.15
        )


def test_a_shift_of_one_side_is_seen_and_centring_takes_it_away(things):
    noise = 0.3 * np.random.default_rng(1).normal(size=things.shape)
    photos, documents = unit(things), unit(things + noise + 2.0)
    shifted = side_gap(photos, documents, ITEMS, ITEMS)
    centred = side_gap(
        unit(photos - photos.mean(axis=0)), unit(documents - documents.mean(axis=0)), ITEMS, ITEMS
    )
    assert shifted.told_apart > 0.95 > centred.told_apart
    assert shifted.centre_distance > 3 * centred.centre_distance


def test_cosines_are_those_of_the_best_own_and_the_best_other_document():
    axes = np.eye(6, dtype=np.float32)
    # Item 0 has two documents; photo 0 is one of them, photo 1 lies between items 1 and 2.
    photos = np.concatenate([axes[:1], unit(axes[1:2] + axes[2:3]), axes[2:6]])
    documents = np.concatenate([axes, unit(axes[:1] + axes[5:])])
    gap = side_gap(photos, documents, np.array([0, 1, 2, 3, 4, 5]), np.array([0, 1, 2, 3, 4, 5, 0]))
    half = np.sqrt(0.5)
    assert gap.own_cosine == pytest.approx((5 + half) / 6, abs=1e-5)
    assert gap.other_cosine == pytest.approx((0 + half + 0 + 0 + 0 + half) / 6, abs=1e-5)


def test_what_cannot_be_measured_is_refused(things):
    with pytest.raises(ValueError, match="no document"):
        side_gap(unit(things), unit(things), ITEMS, ITEMS + 1)
    with pytest.raises(ValueError, match="5 items"):
        side_gap(unit(things[:4]), unit(things), ITEMS[:4], ITEMS)
