"""Words as a loop finds them; and spaces in which differences within groups have unit size in every direction."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from oclear.governance.matching.spaces import Whitening, bag_of_words, rare_words_first

WORD = st.sampled_from(["red", "Red", "über", "dress", "34", "裙子", "a-b", "it's", "ワン", ""])
TEXTS = st.lists(st.lists(WORD, max_size=5).map(" ".join), min_size=1, max_size=8)


def words_of(text):
    """Runs of letters and digits; each sign of Chinese and Japanese by itself."""
    apart = re.sub(r"([\u3040-\u30ff\u3400-\u9fff])", r" \1 ", text.lower())
    return set(re.findall(r"\w+", apart))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TEXTS)
def test_a_bag_of_words_is_what_a_loop_finds(texts):
    bags = [words_of(text) for text in texts]
    known = sorted(w for w in set().union(*bags) if sum(w in bag for bag in bags) >= 3)
    wanted = np.array([[w in bag for w in known] for bag in bags], np.float32)
    found = bag_of_words(texts)
    assert found.shape == (len(texts), len(known)) and found.dtype == np.float32
    np.testing.assert_array_equal(found.toarray(), wanted.reshape(found.shape))
    np.testing.assert_array_equal(bag_of_words(texts[::-1]).toarray(), found.toarray()[::-1])


def test_of_too_many_words_the_frequent_ones_stay():
    texts = ["a b c", "a b c", "a b c", "a b", "a"]
    assert bag_of_words(texts, most=2).toarray().sum(axis=0).tolist() == [5, 4]


def test_rare_words_weigh_more_and_texts_have_length_one():
    words = bag_of_words(["red shoe"] * 3 + ["red bag", "red"] + [""])
    found = rare_words_first(words).toarray()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 1, 1, 0], rtol=1e-6)
    red, shoe = found[0][np.argsort(-words.toarray().sum(axis=0))]
    assert shoe > red > 0
    assert rare_words_first(csr_matrix((4, 0), dtype=np.float32)).shape == (4, 0)


def within(vectors, groups):
    """The pooled covariance within groups of two and more, by its definition."""
    total, freedom = np.zeros((vectors.shape[1],) * 2), 0
    for group in np.unique(groups[groups >= 0]):
        members = vectors[groups == group].astype(np.float64)
        apart = members - members.mean(axis=0)
        total, freedom = total + apart.T @ apart, freedom + len(members) - 1
    return total / freedom


@pytest.fixture
def listings():
    """Products of three listings each, whose listings differ much in one direction and little in another."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(700), 3)
    mixing = np.linalg.qr(rng.normal(size=(5, 5)))[0] * [4, 2, 1, 1, 0.8]
    vectors = rng.normal(size=(700, 5))[groups] * 4 + rng.normal(size=(2100, 5)) @ mixing.T
    groups[::10] = -1
    return vectors.astype(np.float32), groups


def test_differences_within_groups_have_unit_size_in_every_direction(listings):
    vectors, groups = listings
    assert np.linalg.cond(within(vectors, groups)) > 20
    placed = Whitening.fit(vectors, groups)(vectors)
    np.testing.assert_allclose(within(placed, groups), np.eye(5), atol=0.06)
    np.testing.assert_allclose(placed.mean(axis=0), 0, atol=1e-3)


def test_what_means_nothing_is_closer_afterwards(listings):
    """Two listings of one product are nearer, compared with two of different products, than before."""
    vectors, groups = listings

    def ratio(space):
        first, second, other = space[1::3], space[2::3], np.roll(space, 3, axis=0)[1::3]
        same = ((first - second) ** 2).sum(axis=1).mean()
        return same / ((first - other) ** 2).sum(axis=1).mean()

    assert ratio(Whitening.fit(vectors, groups)(vectors)) < 0.7 * ratio(vectors)


def test_sparse_and_dense_vectors_are_one():
    rng = np.random.default_rng(1)
    vectors = (rng.random((60, 8)) < 0.3).astype(np.float32)
    vectors[7] = 0
    groups = rng.integers(-1, 20, 60)
    dense = Whitening.fit(vectors, groups)(vectors)
    sparse = Whitening.fit(csr_matrix(vectors), groups)(csr_matrix(vectors))
    np.testing.assert_allclose(dense, sparse, atol=1e-4)
    assert not dense[7].any(), "what knows nothing stays that"


def test_the_order_of_rows_and_the_numbers_of_groups_decide_nothing(listings):
    vectors, groups = (part[:300] for part in listings)
    order = np.random.default_rng(2).permutation(300)
    again = Whitening.fit(vectors[order], np.where(groups < 0, -1, 999 - groups)[order])

    def squared(space):
        return ((space[:, None] - space[None]) ** 2).sum(axis=2)

    # Directions may be turned; distances are what counts.
    np.testing.assert_allclose(
        squared(again(vectors)), squared(Whitening.fit(vectors, groups)(vectors)), rtol=1e-2
    )


def test_without_groups_vectors_only_lose_their_mean():
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
    for groups in (np.full(4, -1), np.arange(4)):
        placed = Whitening.fit(vectors, groups)(vectors)
        np.testing.assert_allclose(placed, vectors - vectors.mean(axis=0))


def test_a_direction_in_which_members_never_differ_has_a_bound():
    rng = np.random.default_rng(3)
    vectors = np.zeros((200, 2), np.float32)
    groups = np.repeat(np.arange(100), 2)
    vectors[:, 0] = rng.normal(size=200) + 5
    vectors[:, 1] = groups
    placed = Whitening.fit(vectors, groups)
    assert np.isfinite(placed.projection).all()
    assert np.abs(placed.projection).max() <= 1 / np.sqrt(1e-3 * 0.2)
