"""Every measure against one written straight from its definition, item by item and pair by pair."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.cluster import pair_confusion_matrix

from oclear.governance.quality import (
    bcubed,
    coverage,
    cross,
    gini,
    id_sizes,
    item_quality,
    label_purity,
    over_merge_rate,
    over_split_rate,
    pair_counts,
    pair_f1,
    pair_precision,
    pair_recall,
    purity,
)


@st.composite
def labelled(draw, least=-1):
    """``found``, ``truth`` and ``mask`` of up to 24 items; IDs are large and with gaps, as after many rounds."""
    row = st.tuples(st.integers(least, 5), st.integers(least, 5), st.booleans())
    rows = draw(st.lists(row, max_size=24))
    found, truth, mask = (np.array([row[k] for row in rows], np.int64) for k in range(3))
    return np.where(found >= 0, found * 10**15 + 3, -1), truth, mask.astype(bool)


def same(found, expected):
    return found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def share(flags):
    flags = list(flags)
    return sum(flags) / len(flags) if flags else math.nan


def mean(values):
    return share(values)


def together(labels, i, j):
    return i == j or (labels[i] >= 0 and labels[i] == labels[j])


@given(labelled(), st.sampled_from(["either", "both"]))
def test_pairs(given_labels, within):
    found, truth, mask = given_labels
    ask = any if within == "either" else all
    pairs = [
        (i, j)
        for i, j in itertools.combinations(np.flatnonzero(truth >= 0), 2)
        if ask((mask[i], mask[j]))
    ]
    in_one_id = {pair for pair in pairs if together(found, *pair)}
    one_product = {pair for pair in pairs if truth[pair[0]] == truth[pair[1]]}

    counts = pair_counts(cross(found, truth, mask), within)

    assert counts.right == len(in_one_id & one_product)
    assert (counts.found, counts.true) == (len(in_one_id), len(one_product))
    precision = share(pair in one_product for pair in in_one_id)
    recall = share(pair in in_one_id for pair in one_product)
    assert same(pair_precision(found, truth, mask, within), precision)
    assert same(pair_recall(found, truth, mask, within), recall)
    if precision + recall > 0:
        harmonic = 2 * precision * recall / (precision + recall)
        assert same(pair_f1(found, truth, mask, within), harmonic)


@given(labelled(least=0))
def test_pairs_as_scikit_learn_counts_them(given_labels):
    found, truth, _ = given_labels
    (_, only_found), (only_true, right) = pair_confusion_matrix(truth, found)  # ordered pairs

    counts = pair_counts(cross(found, truth))

    assert 2 * counts.right == right
    assert 2 * counts.found == right + only_found
    assert 2 * counts.true == right + only_true


@given(labelled())
def test_bcubed(given_labels):
    """Amigó et al. 2009, section 4: Correctness(e, e') averaged over e' that share e's cluster, or its category."""
    found, truth, mask = given_labels
    known = np.flatnonzero(truth >= 0).tolist()
    precision, recall = {}, {}
    for e in known:
        cluster = [other for other in known if together(found, e, other)]
        category = [other for other in known if truth[e] == truth[other]]
        precision[e] = mean(truth[e] == truth[other] for other in cluster)
        recall[e] = mean(together(found, e, other) for other in category)
    asked = [e for e in known if mask[e]]

    table = cross(found, truth, mask)
    micro, macro = bcubed(table), bcubed(table, macro=True)

    assert same(micro.precision, mean(precision[e] for e in asked))
    assert same(micro.recall, mean(recall[e] for e in asked))
    products = [[e for e in asked if truth[e] == p] for p in sorted({truth[e] for e in asked})]
    p = mean(mean(precision[e] for e in members) for members in products)
    r = mean(mean(recall[e] for e in members) for members in products)
    assert same(macro.precision, p)
    assert same(macro.recall, r)
    assert same(macro.f1, 2 * p * r / (p + r) if asked else math.nan)


@given(labelled())
def test_merged_spread_and_pure(given_labels):
    found, truth, mask = given_labels
    known = np.flatnonzero(truth >= 0).tolist()
    ids = {found[i] for i in known if mask[i] and found[i] >= 0}
    products = {truth[i] for i in known if mask[i]}
    merged = share(len({truth[i] for i in known if found[i] == c}) > 1 for c in ids)
    # An item in no ID is a place of its own.
    places = {i: -1 - i if found[i] < 0 else found[i] for i in known}
    spread = share(len({places[i] for i in known if truth[i] == p}) > 1 for p in products)

    table = cross(found, truth, mask)

    assert same(over_merge_rate(table), merged)
    assert same(over_split_rate(table), spread)
    largest = [
        max(sum(places[i] == c and truth[i] == p for i in known) for p in range(6))
        for c in set(places.values())
    ]
    expected = sum(largest) / len(known) if known else math.nan
    assert same(purity(cross(found, truth)), expected)


@given(labelled())
def test_purity_of_a_group_and_of_the_rest_make_that_of_all(given_labels):
    found, truth, mask = given_labels
    weights = [int(((truth >= 0) & part).sum()) for part in (mask, ~mask)]
    parts = [purity(cross(found, truth, part)) for part in (mask, ~mask)]

    total = sum(w * p for w, p in zip(weights, parts, strict=True) if w)

    assert same(total, purity(cross(found, truth)) * sum(weights) if sum(weights) else 0)


@given(st.lists(st.integers(0, 40), max_size=15))
def test_gini(sizes):
    if sum(sizes):
        differences = sum(abs(a - b) for a in sizes for b in sizes)
        expected = differences / (2 * len(sizes) * sum(sizes))
    else:
        expected = math.nan

    assert same(gini(np.array(sizes)), expected)


@given(labelled(), st.lists(st.integers(0, 6), max_size=6))
def test_sizes_and_coverage(given_labels, with_queries):
    found, _, mask = given_labels
    members = found.tolist()
    queries = [10**15 * k + 3 for k in with_queries]
    ids = sorted({c for c, m in zip(members, mask, strict=True) if m and c >= 0})

    assert id_sizes(found, mask).tolist() == [members.count(c) for c in ids]
    assert id_sizes(found, mask, np.array(queries)).tolist() == [queries.count(c) for c in ids]
    expected = share(
        c >= 0 and (members.count(c) > 1 or c in queries)
        for c, m in zip(members, mask, strict=True)
        if m
    )
    assert same(coverage(found, np.array(queries, np.int64), mask), expected)


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), max_size=12)


@given(pairs, pairs)
def test_label_purity(memberships, truth):
    known = {q for q, _ in truth}
    judged = [c >= 0 and (q, c) in truth for q, c in memberships if q in known]

    def columns(rows):
        return np.array(rows, np.int64).reshape(-1, 2).T

    (query, found), (true_query, true_found) = columns(memberships), columns(truth)
    found, true_found = (np.where(c < 0, -1, c * 10**15) for c in (found, true_found))
    got = label_purity(query, found, true_query, true_found)

    assert same(got[0], share(judged))
    assert got[1] == len(judged)


@given(labelled(), st.randoms(use_true_random=False))
def test_neither_order_nor_names_matter(given_labels, random):
    found, truth, mask = given_labels
    rows = list(range(len(found)))
    random.shuffle(rows)
    renamed = np.where(found >= 0, 7 * 10**15 - found, -1)

    other = item_quality(renamed[rows], np.where(truth >= 0, 9 - truth, -1)[rows], mask[rows])

    assert same(other, item_quality(found, truth, mask))


@given(labelled())
def test_with_everything_in_the_group_it_is_the_whole(given_labels):
    found, truth, _ = given_labels
    whole = item_quality(found, truth)

    everything = item_quality(found, truth, np.ones(len(found), bool))

    assert same({name: everything[name] for name in whole}, whole)
    assert same(everything["pair_precision_both"], whole["pair_precision"])


def test_items_in_no_id_cost_recall_and_are_no_merge():
    found, truth = np.array([-1, -1, 4, 4]), np.array([0, 0, 1, 1])

    measures = item_quality(found, truth)

    assert (measures["pair_precision"], measures["pair_recall"]) == (1, 0.5)
    assert (measures["bcubed_precision"], measures["bcubed_recall"]) == (1, 0.75)
    assert (measures["over_merge"], measures["over_split"], measures["largest"]) == (0, 0.5, 2)


def test_macro_counts_a_small_product_like_a_large_one():
    # Six sellers of one product found, two of another apart.
    found, truth = np.array([0] * 6 + [1, 2]), np.array([0] * 6 + [1, 1])
    table = cross(found, truth)

    assert bcubed(table).recall == (6 * 1 + 2 * 0.5) / 8
    assert bcubed(table, macro=True).recall == (1 + 0.5) / 2


def test_pairs_of_millions_of_items_fit():
    count = 3_000_000
    counts = pair_counts(cross(np.zeros(count, np.int32), np.arange(count, dtype=np.int32) % 2))

    assert counts.found == count * (count - 1) // 2 > 2**32
    assert counts.right == counts.true == 2 * (count // 2 * (count // 2 - 1) // 2)


def test_labels_of_differing_length_are_refused():
    with pytest.raises(ValueError, match="2 found, 3 true labels"):
        cross(np.array([0, 1]), np.array([0, 1, 2]))
