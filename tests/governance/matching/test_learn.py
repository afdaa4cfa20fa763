"""Learning from keys which items are one product: on made-up listings where the truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance.evidence import chain_edges
from oclear.governance.matching.comparisons import Comparisons
from oclear.governance.matching.learn import (
    MatchingConfig,
    candidate_pairs,
    key_answers,
    learn_matches,
)
from oclear.governance.matching.learn import _compare_in as compare_in
from oclear.governance.matching.learn import _lower_bound as lower_bound
from oclear.governance.merge import merge_items

PRODUCTS, SELLERS = 250, 3
CONFIG = MatchingConfig(neighbours=8)


@pytest.fixture(scope="module")
def shop():
    """Sellers' listings differ much in three directions that mean nothing; products in nine that do.

    By distance alone, listings of one product lie further apart than those of different ones. Half state a key.
    """
    rng = np.random.default_rng(0)
    product = np.repeat(np.arange(PRODUCTS), SELLERS)
    own = rng.normal(size=(PRODUCTS, 9))[product] + 0.1 * rng.normal(size=(len(product), 9))
    manner = 6 * rng.normal(size=(len(product), 3))
    vectors = np.hstack([own, manner]).astype(np.float32)
    key = np.where(rng.random(len(product)) < 0.5, product, -1)
    return SimpleNamespace(vectors=vectors, product=product, key=key)


def learned(vectors, key, config=CONFIG, forbidden=None):
    forbidden = [key] if forbidden is None else forbidden
    proofs = [chain_edges("identity", key, "same key", forbidden)]
    spaces = {"pictures": vectors}
    blocks = np.zeros(len(vectors), np.int64)
    pairs = candidate_pairs(spaces, [], proofs, forbidden, blocks, config.neighbours)
    nothing = Comparisons.of({}, len(pairs[0]))
    found = learn_matches(spaces, nothing, pairs, [key], proofs, forbidden, config)
    return pairs, proofs, found


def test_the_learned_space_finds_candidates_that_distance_does_not(shop):
    (a, b), _, _ = learned(shop.vectors, shop.key)
    true = set(pairs_of(shop.product))
    found = true & set(zip(a.tolist(), b.tolist(), strict=True))
    assert len(found) > 0.95 * len(true)
    plain = ((shop.vectors[:, None] - shop.vectors[None]) ** 2).sum(axis=2)
    np.fill_diagonal(plain, np.inf)
    near = np.argsort(plain, axis=1)[:, : CONFIG.neighbours]
    assert (shop.product[near] == shop.product[:, None]).any(axis=1).mean() < 0.5


def pairs_of(labels):
    return [
        (a, b)
        for a in range(len(labels))
        for b in range(a + 1, len(labels))
        if labels[a] == labels[b]
    ]


def test_items_without_a_key_are_put_together_too(shop):
    _, proofs, found = learned(shop.vectors, shop.key)
    group = merge_items(len(shop.key), proofs, [shop.key], found.scores()).group
    same, right = set(pairs_of(shop.product)), set(pairs_of(group))
    assert len(same & right) > 0.9 * len(same), "recall"
    assert len(same & right) > 0.95 * len(right), "precision"


def test_the_estimates_are_near_the_truth(shop):
    """Precision and recall come from keys that were not used to merge."""
    _, _, found = learned(shop.vectors, shop.key)
    group = merge_items(len(shop.key), [], [], found.scores()).group
    same, right = set(pairs_of(shop.product)), set(pairs_of(group))
    assert found.precision >= CONFIG.precision
    assert found.precision == pytest.approx(len(same & right) / len(right), abs=0.03)
    assert found.recall == pytest.approx(len(same & right) / len(same), abs=0.05)


def test_scores_are_log_odds_past_the_margin_and_sums_of_contributions(shop):
    _, _, found = learned(shop.vectors, shop.key)
    scores = found.scores()
    np.testing.assert_array_equal(scores.score, found.log_odds - np.float32(found.margin))
    parts = found.matcher.contributions(found.comparisons).sum(axis=1) + found.matcher.intercept
    np.testing.assert_allclose(parts, found.log_odds, atol=1e-3)
    assert (found.a < found.b).all()


def test_the_same_input_gives_the_same_scores(shop):
    one, two = (learned(shop.vectors, shop.key)[2] for _ in range(2))
    np.testing.assert_array_equal(one.log_odds, two.log_odds)


def test_keys_that_mean_nothing_teach_nothing(shop):
    """Of the candidates by nearness hardly any have equal keys then."""
    wrong = np.random.default_rng(1).permutation(shop.key)
    assert learned(shop.vectors, wrong)[2] is None


def test_wrong_groups_do_not_confirm_themselves():
    """Random pairs taken for products come out as far apart as any others: each is judged without its own group."""
    unequal = np.random.default_rng(0).normal(size=(100, 40)) / np.arange(1, 41)
    vectors = unequal.astype(np.float32)
    group = np.repeat(np.arange(50), 2)
    a, b = np.arange(0, 98, 2), np.arange(1, 98, 2)
    rows = np.concatenate([a, a]), np.concatenate([b, b + 2])  # within groups, and across
    found = compare_in({"x": vectors}, *rows, group)
    within, across = np.split(found.values, 2)
    spread = np.sqrt((within.var(axis=0) + across.var(axis=0)) / len(a))
    assert (np.abs(within.mean(axis=0) - across.mean(axis=0)) < 4 * spread).all()


def test_too_few_keys_teach_nothing(shop):
    few = np.where(np.arange(len(shop.key)) < 30, shop.key, -1)
    assert learned(shop.vectors, few)[2] is None
    alone = np.where(shop.key >= 0, np.arange(len(shop.key)), -1)
    assert learned(shop.vectors, alone)[2] is None, "no equal ones"


CODES = st.lists(st.integers(-1, 2), min_size=6, max_size=6).map(lambda c: np.array(c, np.int64))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(CODES, min_size=1, max_size=3))
def test_answers_of_keys(keys):
    a, b = (rows.astype(np.int64) for rows in np.triu_indices(6, 1))
    equal, differing = key_answers(keys, a, b)
    for at, (x, y) in enumerate(zip(a, b, strict=True)):
        said = {codes[x] == codes[y] for codes in keys if codes[x] >= 0 and codes[y] >= 0}
        assert equal[at] == (said == {True})
        assert differing[at] == (said == {False}), "those that say both say nothing"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(0, 1), st.integers(1, 100_000))
def test_a_share_is_surely_above_its_lower_bound(share, count):
    low = lower_bound(share, count)
    assert -1e-9 <= low <= share + 1e-9
    assert lower_bound(share, 10 * count) >= low - 1e-9, "more pairs, more sure"


def test_blocks_part_what_is_near_but_not_what_evidence_ties(shop):
    blocks = np.arange(len(shop.key)) % 2
    proofs = [chain_edges("identity", shop.key, "same key")]
    a, b = candidate_pairs({"pictures": shop.vectors}, proofs, proofs, [], blocks, 5)
    across = blocks[a] != blocks[b]
    tied = set(zip(proofs[0].a.tolist(), proofs[0].b.tolist(), strict=True))
    assert across.any()
    assert set(zip(a[across].tolist(), b[across].tolist(), strict=True)) <= tied
