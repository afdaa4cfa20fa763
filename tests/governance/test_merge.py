"""Groups of items: evidence joins, cannot-link always wins, and order decides nothing."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from oclear.governance.evidence import chain_edges, make_edges
from oclear.governance.merge import Scores, merge_items, refused_by_cannot_link

KINDS = ("identity", "image_hash", "looks", "behaviour")


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 12))
    row = st.integers(0, count - 1)
    edge = st.tuples(row, row, st.sampled_from([0.3, 0.9, 1.0]))
    evidence = [(kind, draw(st.lists(edge, max_size=12))) for kind in KINDS]
    value = st.integers(-1, 2)
    column = st.lists(value, min_size=count, max_size=count).map(lambda c: np.array(c, np.int64))
    return count, evidence, draw(st.lists(column, max_size=2))


def edges_of(evidence):
    return [
        make_edges(
            kind,
            np.array([a for a, _, _ in rows], np.int64),
            np.array([b for _, b, _ in rows], np.int64),
            np.array([w for _, _, w in rows], np.float32),
            "made up",
        )
        for kind, rows in evidence
    ]


def values_of(members, codes):
    return set(codes[members].tolist()) - {-1}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(graphs())
@example((3, [("identity", [(0, 1, 1.0), (1, 2, 1.0)])], [np.array([0, -1, 1])]))
def test_no_group_breaks_a_rule_and_nothing_is_refused_without_one(graph):
    count, evidence, forbidden = graph
    edges = edges_of(evidence)
    merge = merge_items(count, edges, forbidden)
    groups = [np.flatnonzero(merge.group == g) for g in range(merge.count)]

    for codes in forbidden:
        assert all(len(values_of(members, codes)) <= 1 for members in groups)
    a, b = (np.concatenate([getattr(e, side) for e in edges]) for side in "ab")
    for x, y in zip(merge.group[a], merge.group[b], strict=True):
        both = np.concatenate([groups[x], groups[y]])
        assert x == y or any(len(values_of(both, codes)) > 1 for codes in forbidden)

    inside = merge.group[a] == merge.group[b]
    graph_inside = coo_matrix((np.ones(inside.sum()), (a[inside], b[inside])), (count, count))
    assert connected_components(graph_inside, directed=False)[0] == merge.count, (
        "a group is tied by evidence of its own"
    )
    first = [members[0] for members in groups]
    assert first == sorted(first), "groups are numbered by their first item"


@settings(max_examples=80, deadline=None, derandomize=True)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_edges_decides_nothing(graph, random):
    count, evidence, forbidden = graph
    shuffled = []
    for kind, rows in evidence:
        rows = [(b, a, w) if random.random() < 0.5 else (a, b, w) for a, b, w in rows]
        random.shuffle(rows)
        shuffled.append((kind, rows + rows[:2]))
    before = merge_items(count, edges_of(evidence), forbidden)
    after = merge_items(count, edges_of(shuffled), forbidden)
    np.testing.assert_array_equal(before.group, after.group)


def test_a_chain_over_items_without_a_value_does_not_get_round_a_rule():
    barcode = np.array([0, -1, -1, -1, 1])
    chain = make_edges("looks", np.arange(4), np.arange(1, 5), np.float32(0.9), "look alike")
    merge = merge_items(5, [chain], [barcode])
    assert merge.group[0] != merge.group[4]
    assert merge.count == 2, "only one of the four ties has to go"
    assert refused_by_cannot_link(chain, merge.group, [barcode]).sum() == 1


def test_the_stronger_evidence_is_heard_first():
    barcode = np.array([0, -1, 1])
    weak = make_edges("looks", np.array([0]), np.array([1]), np.float32(0.8), "look alike")
    strong = make_edges("behaviour", np.array([1]), np.array([2]), np.float32(0.9), "clicked")
    assert merge_items(3, [weak, strong], [barcode]).group.tolist() == [0, 1, 1]


def test_items_with_equal_values_stay_tied_where_others_are_refused():
    """A hub with the wrong value must not tear the others apart."""
    same_picture = np.zeros(5, np.int64)
    brand = np.array([0, 1, 1, -1, 0])
    edges = chain_edges("image_hash", same_picture, "same image file", [brand])
    group = merge_items(5, [edges], [brand]).group
    assert group[1] == group[2]
    assert group[0] == group[4] != group[1]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=15))
def test_chains_tie_equal_codes_and_no_others(codes):
    codes = np.array(codes)
    edges = chain_edges("identity", codes, "same code")
    given_codes = codes[codes >= 0]
    assert len(edges) == len(given_codes) - len(np.unique(given_codes))
    merge = merge_items(len(codes), [edges], [])
    same = merge.group[:, None] == merge.group[None, :]
    expected = (codes[:, None] == codes[None, :]) & (codes >= 0) | np.eye(len(codes), dtype=bool)
    np.testing.assert_array_equal(same, expected)


def scores_of(*pairs):
    a, b, score = zip(*pairs, strict=True)
    return Scores(np.array(a), np.array(b), np.array(score, np.float32))


def test_a_chain_ties_nothing_that_its_ends_speak_against():
    chain = ((0, 1, 2.0), (1, 2, 1.5), (0, 2, -4.0))
    assert merge_items(3, [], [], scores_of(*chain)).group.tolist() == [0, 0, 1]
    weak = ((0, 1, 2.0), (1, 2, 1.5), (0, 2, -1.0))
    assert merge_items(3, [], [], scores_of(*weak)).group.tolist() == [0, 0, 0]


def test_the_strongest_pair_merges_first_and_groups_grow_no_larger_than_asked():
    scores = scores_of((0, 1, 1.0), (1, 2, 3.0), (2, 3, 2.0))
    assert merge_items(4, [], [], scores, most=2).group.tolist() == [0, 1, 1, 2]
    proof = chain_edges("identity", np.array([0, 0, 0, -1]), "same barcode")
    assert merge_items(4, [proof], [], scores, most=2).group.tolist() == [0, 0, 0, 1]


def brute_force_average_linkage(count, scores, codes):
    """Merges the best pair of groups over and over, from the definition."""
    table = np.zeros((count, count))
    for a, b, score in zip(scores.a, scores.b, scores.score, strict=True):
        table[a, b] = table[b, a] = score
    groups = [[row] for row in range(count)]
    while True:
        best = None
        for i, x in enumerate(groups):
            for j in range(i + 1, len(groups)):
                y = groups[j]
                values = {codes[row] for row in x + y if codes[row] >= 0}
                mean = table[np.ix_(x, y)].mean()
                if mean > 0 and len(values) < 2 and (best is None or mean > best[0] + 1e-12):
                    best = (mean, i, j)
        if best is None:
            return sorted(sorted(group) for group in groups)
        groups[best[1]] += groups.pop(best[2])


@given(data=st.data(), count=st.integers(2, 9))
@settings(deadline=None, max_examples=150)
def test_average_linkage_is_what_the_definition_says_whatever_the_order(data, count):
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    # Distinct scores: among equal means any order would be right.
    score = data.draw(st.permutations(range(1, len(pairs) + 1)))
    signs = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(pairs), max_size=len(pairs)))
    values = [s * (n + 0.37 * n**0.5) for s, n in zip(signs, score, strict=True)]
    codes = np.array(data.draw(st.lists(st.integers(-1, 1), min_size=count, max_size=count)))
    order = data.draw(st.permutations(range(len(pairs))))
    scores = scores_of(*((*pairs[i], values[i]) for i in order))
    group = merge_items(count, [], [codes], scores).group
    found = sorted(np.flatnonzero(group == g).tolist() for g in range(group.max() + 1))
    assert found == brute_force_average_linkage(count, scores, codes)
