"""A photo's likeness to a group is learned from others, and says how much better it fits than anything."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from oclear.governance.assign.likeness import folds_of, honest_likeness, sure_labels
from oclear.governance.assign.pairs import Pairs

GROUPS, EACH, DIM = 12, 40, 8


@pytest.fixture
def shop():
    """Simulated photos, documents, the true group of each photo, and all pairs."""
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.normal(size=(GROUPS, 4)), np.zeros((GROUPS, 4))], axis=1)
    spread = np.repeat([0.4, 2.0], 4)
    true = np.repeat(np.arange(GROUPS), EACH)
    photos = (places[true] + spread * rng.normal(size=(len(true), DIM))).astype(np.float32)
    documents = (places + 0.3 * spread * rng.normal(size=places.shape)).astype(np.float32)
    pairs = Pairs.entries_of([csr_matrix(np.ones((len(true), GROUPS)))])
    return photos, documents, true, pairs


def belief_in(pairs, labels):
    return (pairs.group == labels[pairs.photo]).astype(float)


def judge(shop, labels):
    photos, documents, _, pairs = shop
    found = honest_likeness(pairs, belief_in(pairs, labels), photos, documents, folds_of(photos))
    return found.reshape(len(photos), GROUPS)


def test_the_true_group_fits_best_where_plain_distance_is_lost(shop):
    photos, documents, true, _ = shop
    plain = ((photos[:, None] - documents[None]) ** 2).sum(axis=2).argmin(axis=1)
    found = judge(shop, true)
    assert (found.argmax(axis=1) == true).mean() > 0.8 > 0.5 > (plain == true).mean()
    assert (found[np.arange(len(true)), true] > 0).mean() > 0.9


def test_a_photo_s_own_label_says_nothing_about_itself(shop):
    photos, _, true, _ = shop
    wrong = true.copy()
    wrong[7] = (true[7] + 1) % GROUPS
    first, second = judge(shop, true), judge(shop, wrong)
    fold = folds_of(photos)
    np.testing.assert_array_equal(second[fold == fold[7]], first[fold == fold[7]])
    assert not np.array_equal(second, first), "but it does about the others"


def test_wrong_labels_among_right_ones_do_little_harm(shop):
    true = shop[2]
    rng = np.random.default_rng(1)
    noisy = np.where(rng.random(len(true)) < 0.2, rng.integers(0, GROUPS, len(true)), true)
    assert (judge(shop, noisy).argmax(axis=1) == true).mean() > 0.7


def test_a_group_without_document_and_photos_fits_as_anything_does(shop):
    photos, documents, true, pairs = shop
    documents[3] = 0
    labels = np.where(true == 3, -1, true)
    np.testing.assert_allclose(judge((photos, documents, true, pairs), labels)[:, 3], 0, atol=1e-2)


def test_a_photo_without_picture_fits_nothing(shop):
    photos, documents, true, pairs = shop
    photos[5] = 0
    assert not judge((photos, documents, true, pairs), true)[5].any()


def test_labels_only_of_the_sure(shop):
    pairs = shop[3]
    belief = np.where(pairs.photo % 2 == 0, 0.9, 0.4) * (pairs.group == 2)
    labels = sure_labels(pairs, belief)
    assert set(labels[::2]) == {2} and set(labels[1::2]) == {-1}


def test_folds_go_with_the_vector_not_with_its_row(shop):
    photos = shop[0]
    fold = folds_of(photos)
    order = np.random.default_rng(0).permutation(len(photos))
    np.testing.assert_array_equal(folds_of(photos[order]), fold[order])
    assert np.bincount(fold, minlength=5).min() > len(photos) / 10
    assert len(set(folds_of(np.tile(photos[:1], (9, 1))))) == 1
