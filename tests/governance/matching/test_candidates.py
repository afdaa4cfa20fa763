"""Candidate pairs against what a loop finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance.evidence import make_edges
from oclear.governance.matching.candidates import edge_weights, neighbour_pairs, unique_pairs

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20)


def columns(rows):
    a = np.array([row[0] for row in rows], np.int64)
    return a, np.array([row[1] for row in rows], np.int64)


def listed(found):
    return list(zip(*(part.tolist() for part in found), strict=True))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pairs)
def test_unique_pairs_are_sorted_and_each_there_once(rows):
    wanted = sorted({(min(row), max(row)) for row in rows if row[0] != row[1]})
    assert listed(unique_pairs(*columns(rows), 7)) == wanted


def test_no_pairs_of_no_items():
    assert listed(unique_pairs(*columns([]), 0)) == []


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pairs, st.lists(st.tuples(pairs, st.sampled_from([0.25, 0.5, 1.0])), max_size=3))
def test_edge_weights_are_the_largest_of_each_pair(asked, evidence):
    a, b = unique_pairs(*columns(asked), 7)
    edges = [make_edges("looks", *columns(rows), weight, "made up") for rows, weight in evidence]
    wanted = []
    for pair in zip(a.tolist(), b.tolist(), strict=True):
        weights = [w for rows, w in evidence if pair in {(min(r), max(r)) for r in rows}]
        wanted.append(max(weights, default=0.0))
    assert edge_weights(edges, a, b, 7).tolist() == wanted


@pytest.mark.parametrize("k", [1, 3, 50])
def test_neighbours_are_those_a_loop_finds(k):
    rng = np.random.default_rng(k)
    vectors = rng.normal(size=(40, 5)).astype(np.float32)
    vectors[[3, 17]] = 0
    blocks = rng.integers(-1, 3, 40)
    wanted = set()
    for row in range(40):
        others = [
            other
            for other in range(40)
            if other != row and blocks[other] == blocks[row] and vectors[[row, other]].any(1).all()
        ]
        cosine = [
            vectors[row] @ vectors[o] / np.linalg.norm(vectors[row]) / np.linalg.norm(vectors[o])
            for o in others
        ]
        near = [others[at] for at in np.argsort(cosine)[::-1][:k]]
        wanted |= {(min(row, other), max(row, other)) for other in near}
    assert listed(neighbour_pairs(vectors, blocks, k)) == sorted(wanted)


def test_the_length_of_vectors_and_the_order_of_items_decide_nothing():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    blocks = rng.integers(0, 2, 30)
    found = set(listed(neighbour_pairs(vectors, blocks, 3)))
    order = rng.permutation(30)
    scaled = (vectors * rng.uniform(0.5, 9, (30, 1)))[order].astype(np.float32)
    again = neighbour_pairs(scaled, blocks[order], 3)
    assert {tuple(sorted((int(order[a]), int(order[b])))) for a, b in listed(again)} == found


def test_items_alone_in_their_block_have_no_neighbour():
    assert listed(neighbour_pairs(np.eye(3, dtype=np.float32), np.arange(3), 2)) == []
    assert listed(neighbour_pairs(np.zeros((0, 3), np.float32), np.empty(0, np.int64), 2)) == []


def test_two_items_of_a_block_are_neighbours():
    vectors = np.array([[1, 0], [0, 1], [-1, 0.5]], np.float32)
    assert listed(neighbour_pairs(vectors, np.array([4, 7, 4]), 5)) == [(0, 2)]
