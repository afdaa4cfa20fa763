"""Granularities: each point once, from fine to coarse, and measured against the truth."""

import numpy as np
import pytest

from oclear.governance import GovernanceConfig, categorize_log
from oclear.governance.sweep import SweepPoint, item_ids, measure_ids, sweep_points
from oclear.tables import SkippedImages


def test_points_go_from_fine_to_coarse_each_once():
    points = sweep_points(
        ("kmeans", "dbscan", "dbscan"), (0.2, 0.1, 0.2), (0.3, 0.9), kmeans_radius=0.5
    )
    assert points == [
        SweepPoint("kmeans", 0.5, 0.9),
        SweepPoint("kmeans", 0.5, 0.3),
        SweepPoint("dbscan", 0.1),
        SweepPoint("dbscan", 0.2),
    ]


def test_a_point_changes_the_clustering_and_nothing_else():
    base = GovernanceConfig(text_weight=0.7, clusters_share=0.15)
    dbscan = SweepPoint("dbscan", 0.33).of(base)
    assert (dbscan.clustering, dbscan.looks_radius, dbscan.clusters_share) == ("dbscan", 0.33, 0.15)
    kmeans = SweepPoint("kmeans", 0.5, 0.9).of(base)
    assert (kmeans.clustering, kmeans.looks_radius, kmeans.clusters_share) == ("kmeans", 0.5, 0.9)
    changed = {name for name, value in kmeans if value != getattr(base, name)}
    assert changed == {"clustering", "looks_radius", "clusters_share"}


@pytest.fixture
def shop(make):
    """Two products of two sellers each, at angles of 10 degrees within and 30 between."""
    angles = np.radians([0, 10, 40, 50])
    items = make.items(["d", "a", "c", "b"])  # not in the order of their ids
    return items, make.looks(np.stack([np.cos(angles), np.sin(angles)], axis=1), [])


def at(make, shop, point):
    items, looks = shop
    return categorize_log(
        items,
        make.queries(0),
        None,
        looks,
        point.of(GovernanceConfig(evidence=("looks",))),
        hold_out=False,
        previous=None,
        skipped=SkippedImages(),
    )


@pytest.mark.parametrize(
    ("radius", "ids", "precision", "recall"),
    [(0.001, 4, None, 0.0), (0.02, 2, 1.0, 1.0), (0.4, 1, 1 / 3, 1.0)],
)
def test_measures_of_a_point(make, shop, radius, ids, precision, recall):
    found = at(make, shop, SweepPoint("dbscan", radius))
    row = measure_ids(found, shop[0], np.array([0, 0, 1, 1]))
    assert row["category_ids"] == ids and row["ids_per_item"] == ids / 4
    assert row["pair_recall"] == recall
    if precision is None:
        assert np.isnan(row["pair_precision"])
    else:
        assert row["pair_precision"] == pytest.approx(precision)
    assert row["over_split"] == (1.0 if ids == 4 else 0.0)


def test_item_ids_are_in_the_order_of_the_table(make, shop):
    found = at(make, shop, SweepPoint("dbscan", 0.02))
    ids = item_ids(found, shop[0])
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_without_truth_there_is_no_quality(make, shop):
    row = measure_ids(at(make, shop, SweepPoint("dbscan", 0.02)), shop[0], None)
    assert row["pair_precision"] is None and row["bcubed_f1"] is None
    assert 0 < row["estimated_purity"] <= 1
