"""Looks: DBSCAN ties what lies close, and a chain does not grow without end."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance import normalized
from oclear.governance.evidence import neighbours
from oclear.governance.evidence.neighbours import look_edges
from oclear.governance.looks import nearest
from oclear.governance.merge import merge_items


def on_circle(*degrees):
    """Unit vectors in a plane: their cosine is that of the angle between them."""
    angle = np.radians(np.array(degrees, np.float64))
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def groups(vectors, radius, blocks=None, clustering="dbscan", **options):
    blocks = np.zeros(len(vectors), np.int64) if blocks is None else np.array(blocks)
    edges = look_edges(vectors, blocks, radius, clustering, **options)
    return merge_items(len(vectors), [edges], []).group.tolist()


EACH = pytest.mark.parametrize("clustering", ["dbscan", "hdbscan", "kmeans"])


def test_the_radius_is_a_cosine_distance():
    within, beyond = 1 - np.cos(np.radians(10.5)), 1 - np.cos(np.radians(9.5))
    assert groups(on_circle(0, 10, 90), within) == [0, 0, 1]
    assert groups(on_circle(0, 10, 90), beyond) == [0, 1, 2]


def test_a_chain_is_capped_at_the_radius_around_its_middle():
    radius = 1 - np.cos(np.radians(10.5))
    chain = on_circle(*range(0, 101, 10))
    found = np.array(groups(chain, radius))
    middle = found[5]
    assert np.flatnonzero(found == middle).tolist() == [4, 5, 6]
    assert len(set(found.tolist())) == 9, "the ends stand alone"


def test_only_items_of_one_block_are_compared():
    same = on_circle(0, 0, 1, 1)
    assert groups(same, 0.1, [0, 1, 0, 1]) == [0, 1, 0, 1]
    assert groups(same, 0.1, [0, -1, -1, 1]) == [0, 1, 1, 2]


def test_items_without_a_picture_are_like_nothing():
    vectors = np.zeros((4, 2), np.float32)
    vectors[3] = 1, 0
    assert groups(vectors, 0.99) == [0, 1, 2, 3]
    assert groups(np.zeros((1, 2), np.float32), 0.5) == [0]


def test_more_equal_items_than_neighbours_looked_at_are_one_cluster():
    vectors = np.repeat(on_circle(0, 90), 50, axis=0)
    assert groups(vectors, 0.01) == [0] * 50 + [1] * 50


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 359), min_size=1, max_size=20), st.sampled_from([5.5, 20.5, 40.5]))
def test_members_have_a_near_neighbour_and_are_never_far_apart(degrees, reach):
    vectors = on_circle(*degrees)
    radius = 1 - np.cos(np.radians(reach))
    found = np.array(groups(vectors, radius))
    for group in set(found.tolist()):
        members = vectors[found == group]
        if len(members) > 1:
            similarity = members @ members.T - 2 * np.eye(len(members))
            assert similarity.max(initial=-1) >= 1 - radius - 1e-5
            # All were within the radius of one point, the mean of the chain they are left of.
            widest = np.cos(np.radians(2 * reach))
            assert (members @ members.T).min() >= widest - 1e-5


def test_picture_and_text_weigh_as_told(make):
    looks = make.looks([[1, 0], [1, 0], [0, 1], [0, 1]], [], [[1, 0], [0, 1], [1, 0], [1, 0]])
    joint = looks.joint_items(0.2)
    cosines = joint @ joint.T
    np.testing.assert_allclose(cosines[0], [1, 0.8, 0.2, 0.2], atol=1e-6)
    np.testing.assert_allclose(cosines[2, 3], 1, atol=1e-6)
    assert looks.joint_items(0.0) is looks.items


def test_a_text_alone_makes_no_look(make):
    looks = make.looks([[0, 0], [0, 0], [1, 0], [1, 0]], [], [[1, 0], [1, 0], [0, 0], [0, 0]])
    joint = looks.joint_items(0.5)
    assert not joint[:2].any()
    np.testing.assert_allclose(np.linalg.norm(joint[2:], axis=1), 1, atol=1e-6)
    assert groups(joint, 0.1) == [0, 1, 2, 2]


def test_normalized_leaves_zeros_alone_and_nearest_is_exact():
    rng = np.random.default_rng(0)
    vectors = normalized(rng.normal(size=(30, 5)))
    vectors[3] = 0
    assert not normalized(vectors)[3].any()
    similarities, _ = nearest(vectors, vectors, 4)
    expected = np.sort(vectors @ vectors.T, axis=1)[:, ::-1][:, :4]
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    assert nearest(vectors, vectors[:2], 4)[1].shape == (30, 2)


@EACH
def test_each_clustering_finds_what_lies_close_and_parts_what_does_not(clustering):
    vectors = on_circle(0, 1, 2, 90, 91, 180, 181, 182, 183, 270)
    found = groups(vectors, 0.005, clustering=clustering, clusters_share=0.4)
    assert found == [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
    assert groups(vectors, 0.005, range(10), clustering) == list(range(10)), "all in blocks apart"


@EACH
def test_members_further_than_the_radius_from_the_centre_leave(clustering):
    """One cluster for all, and two ends that are too far from its middle."""
    vectors = on_circle(0, 29, 30, 31, 60)
    radius = 1 - np.cos(np.radians(10))
    assert groups(vectors, radius, clustering=clustering, clusters_share=0.2) == [0, 1, 1, 1, 2]


@EACH
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**31), st.integers(2, 40))
def test_ties_are_near_and_the_same_each_time(clustering, seed, count):
    rng = np.random.default_rng(seed)
    vectors = normalized(rng.normal(size=(count, 3)))
    blocks = rng.integers(0, 2, count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        edges = look_edges(vectors, blocks, 0.05, clustering)
    again = look_edges(vectors, blocks, 0.05, clustering)
    assert edges.a.tolist() == again.a.tolist() and edges.b.tolist() == again.b.tolist()
    assert (edges.a < edges.b).all() and len(set(zip(edges.a, edges.b, strict=True))) == len(edges)
    assert (blocks[edges.a] == blocks[edges.b]).all()
    # Both are within the radius of one mean.
    apart = np.arccos(np.clip((vectors[edges.a] * vectors[edges.b]).sum(axis=1), -1, 1))
    assert (apart <= 2 * np.arccos(0.95) + 1e-3).all()


@pytest.mark.parametrize("clustering", ["dbscan", "hdbscan"])
def test_the_order_of_rows_makes_no_difference_to_density(clustering):
    rng = np.random.default_rng(3)
    centres = normalized(rng.normal(size=(15, 8)))
    vectors = normalized(np.repeat(centres, 4, axis=0) + 0.1 * rng.normal(size=(60, 8)))
    order = rng.permutation(60)
    group = np.array(groups(vectors, 0.1, clustering=clustering))
    moved = np.array(groups(vectors[order], 0.1, clustering=clustering))
    assert ((group[order][:, None] == group[order]) == (moved[:, None] == moved)).all()
    assert len(set(group.tolist())) < 60


def test_hdbscan_never_sees_more_items_at_once_than_fit(monkeypatch):
    """A chain of eleven hangs together at every reach; pieces of four are seen one after the other."""
    monkeypatch.setattr(neighbours, "_HDBSCAN_MOST", 4)
    chain = on_circle(*range(0, 101, 10))
    pieces = list(neighbours._pieces(chain, 0.1))
    assert max(map(len, pieces), default=0) <= 4
    equal = np.repeat(on_circle(0, 90), 10, axis=0)
    pieces = list(neighbours._pieces(equal, 0.1))
    assert sorted(np.concatenate(pieces).tolist()) == list(range(20)), (
        "equal ones are cut, not lost"
    )
    assert max(map(len, pieces)) <= 4
