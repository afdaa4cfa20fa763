"""Evidence weighed by fixed gates: titles need looks, unlike pairs speak against, and how sure it all is."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from oclear.governance import GovernanceConfig
from oclear.governance.catalogue import catalogue_evidence
from oclear.governance.evidence import make_edges
from oclear.governance.grouping import _confidence, _contradictions, group_items
from oclear.governance.merge import Merge, Scores
from oclear.tables import SkippedImages

DEFAULTS = GovernanceConfig()


def grouped(make, vectors, config=DEFAULTS, **columns):
    items = make.items(len(vectors), **columns)
    looks = make.looks(vectors, [])
    catalogue = catalogue_evidence(items, looks, config, SkippedImages())
    return group_items(items, looks, catalogue, [], None, config)


def at(*degrees):
    """Vectors of two dimensions."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def together(groups):
    return groups.merge.group[0] == groups.merge.group[1]


TITLES = {"title": ["red summer dress with pockets"] * 2}


@pytest.mark.parametrize(("degrees", "is_one"), [(30, True), (45, False), (90, False)])
def test_equal_titles_count_where_looks_agree(make, degrees, is_one):
    """Up to the gate of 0.8, which is 37 degrees; looks alone would need 23."""
    assert together(grouped(make, at(0, degrees), **TITLES)) == is_one
    assert not together(grouped(make, at(0, degrees), title=["red dress", "blue shoe"]))


def test_equal_titles_without_pictures_prove_nothing(make):
    groups = grouped(make, np.zeros((2, 2)), **TITLES)
    assert not together(groups)
    assert [e.kind for e in groups.evidence if len(e)] == ["title"], (
        "the evidence is there, unheard"
    )


def test_equal_keys_need_no_looks(make):
    groups = grouped(make, at(0, 180), brand=["x", "x"], barcode=["1", "1"])
    # Refused as constant where all items have it, so there is a third.
    assert together(groups)


def test_unlike_ends_of_a_chain_are_not_brought_together(make):
    """Each of five looks like the next, the ends are 80 degrees apart: what one ID would hold is a rainbow."""
    config = GovernanceConfig(looks_radius=0.1, evidence=("looks",), contradiction_gate=0.5)
    chain = at(*range(0, 100, 20))
    found = grouped(make, chain, config)
    for members in (np.flatnonzero(found.merge.group == g) for g in range(found.merge.count)):
        assert (chain[members] @ chain[members].T).min() > 0.5


PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=10)
PLACES = [0, 15, 90, 120, 180, None]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(PAIRS, st.lists(st.sampled_from(PLACES), min_size=8, max_size=8))
def test_contradictions_are_unlike_pairs_that_chains_would_join(rows, places):
    rows = sorted({(min(r), max(r)) for r in rows if r[0] != r[1]})
    a, b = (np.array([r[i] for r in rows], np.int64) for i in range(2))
    joint = np.array([[0, 0] if d is None else at(d)[0] for d in places], np.float32)
    chained = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (8, 8)), directed=False)[1]
    wanted = {
        (x, y)
        for x in range(8)
        for y in range(x + 1, 8)
        if chained[x] == chained[y]
        and (x, y) not in rows
        and joint[x].any()
        and joint[y].any()
        and joint[x] @ joint[y] < 0.4
    }
    found = _contradictions(a, b, joint, GovernanceConfig(contradiction_gate=0.4))
    assert sorted(zip(*(part.tolist() for part in found), strict=True)) == sorted(wanted)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 2), min_size=6, max_size=6),
    st.dictionaries(
        st.tuples(st.integers(0, 5), st.integers(0, 5)).filter(lambda p: p[0] < p[1]),
        st.sampled_from([-2.0, -0.5, 0.5, 3.0]),
        max_size=12,
    ),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=3),
)
def test_confidence_is_the_mean_chance_of_an_item_with_those_of_its_group(labels, scored, proofs):
    group = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    rows = sorted(scored)
    scores = Scores(
        np.array([a for a, _ in rows], np.int64),
        np.array([b for _, b in rows], np.int64),
        np.array([scored[row] for row in rows], np.float32),
    )
    edges = make_edges(
        "identity",
        np.array([a for a, _ in proofs], np.int64),
        np.array([b for _, b in proofs], np.int64),
        1.0,
        "made up",
    )
    wanted = []
    for item in range(6):
        mates = [other for other in range(6) if other != item and group[other] == group[item]]
        proven = any(
            item in pair and set(pair) - {item} <= set(mates)
            for pair in ({a, b} for a, b in proofs if a != b)
        )
        told = [scored[pair] for m in mates if (pair := (min(m, item), max(m, item))) in scored]
        chance = [1 / (1 + np.exp(-score)) for score in told]
        wanted.append(1.0 if proven or not told else np.mean(chance))
    np.testing.assert_allclose(_confidence(Merge(group), [edges], scores), wanted, rtol=1e-6)


def test_items_by_themselves_and_proven_ones_are_sure(make):
    groups = grouped(make, at(0, 0.1, 5, 90), barcode=["1", "1", None, None])
    assert groups.merge.group.tolist() == [0, 0, 0, 1]
    assert groups.confidence[[0, 1, 3]].tolist() == [1, 1, 1]
    assert 0.5 < groups.confidence[2] < 1, "by looks alone"


def test_where_keys_are_few_nothing_is_learned(make):
    groups = grouped(make, at(0, 90), barcode=pa.array(["1", None]))
    assert groups.matches is None
