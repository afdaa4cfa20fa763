"""Clicks as pairs, pairs as samples, and how batches of them are drawn."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from oclear.errors import InputError
from oclear.evaluation.comparison.clicked_pairs import clicked_pairs, pair_samples, true_pairs
from oclear.evaluation.comparison.frozen import centred, nearest_document, nearest_photo
from oclear.evaluation.comparison.pair_sampler import PairSampler
from oclear.tables import Exposures, Items, Queries, Truth
from oclear.training import SampleSet

PLACE = Path("shop")


@pytest.fixture
def items() -> Items:
    """Four items; the second has two pictures."""
    paths = [["a.png"], ["b.png", "c.png"], ["d.png"], ["e.png"]]
    return Items(PLACE, pa.table({"item_id": ["i0", "i1", "i2", "i3"], "image_path": paths}))


@pytest.fixture
def queries() -> Queries:
    ids = [f"q{n}" for n in range(5)]
    table = {"query_id": ids, "image_path": [f"{i}.png" for i in ids], "split": ["train"] * 5}
    return Queries(PLACE, pa.table(table))


def log(*rows: tuple[str, str, bool]) -> Exposures:
    query, item, clicked = zip(*rows, strict=True)
    return Exposures(
        PLACE, pa.table({"query_id": list(query), "item_id": list(item), "clicked": list(clicked)})
    )


def test_each_clicked_pair_counts_once(items: Items, queries: Queries) -> None:
    clicks = log(
        ("q4", "i1", True), ("q0", "i3", True), ("q0", "i0", False), ("q4", "i1", True),
        ("elsewhere", "i0", True), ("q0", "i1", True),
    )  # fmt: skip
    assert clicked_pairs(clicks, queries, items).tolist() == [[0, 1], [0, 3], [4, 1]]


def test_true_pairs_are_those_of_the_truth(items: Items, queries: Queries) -> None:
    truth = Truth(PLACE, pa.table({"query_id": ["q3", "q3", "q1"], "item_id": ["i2", "i0", "i1"]}))
    assert true_pairs(truth, queries, items).tolist() == [[1, 1], [3, 0], [3, 2]]


def test_pairs_become_samples_of_one_label(items: Items, queries: Queries) -> None:
    pairs = np.array([[0, 1], [0, 3], [4, 1]])
    samples = pair_samples(pairs, queries.pictures(), items.pictures())

    assert samples.category_ids.tolist() == [1, 3]
    assert samples.labels[:, 0].tolist() == [0, 1, 0, 0, 0, 1]
    assert samples.is_document.tolist() == [False] * 3 + [True] * 3
    assert samples.picture.tolist() == [0, 0, 4, 1, 2, 4], "two pictures of i1, one of i3"


def test_no_clicks_are_refused(items: Items, queries: Queries) -> None:
    with pytest.raises(InputError, match="not one photo"):
        pair_samples(np.empty((0, 2), np.int64), queries.pictures(), items.pictures())


# Batches


def samples_of(photos_of_class: list[int], documents: int = 1) -> SampleSet:
    photos = np.repeat(np.arange(len(photos_of_class)), photos_of_class)
    labels = np.concatenate([photos, np.repeat(np.arange(len(photos_of_class)), documents)])
    count = len(labels)
    return SampleSet(
        np.arange(len(photos_of_class)),
        np.arange(count) >= len(photos),
        np.arange(count),
        labels[:, None],
        np.ones((count, 1), np.float32),
        np.ones(len(photos_of_class), np.float32),
    )


@pytest.mark.parametrize("draw", ["shuffled", "distinct", "grouped"])
def test_document_i_is_of_the_item_of_photo_i(draw) -> None:
    samples = samples_of([30, 4, 4, 2, 1, 1, 9, 9], documents=2)
    sampler = PairSampler(samples, 12, 0.5, (0,), draw)
    for step in range(40):
        rows = sampler.draw(step)
        assert np.array_equal(rows, sampler.draw(step)), "a function of the step alone"
        photos, documents = rows[~samples.is_document[rows]], rows[samples.is_document[rows]]
        assert len(photos) == len(documents) > 0
        assert np.array_equal(samples.labels[photos], samples.labels[documents])
        assert len(rows) == 12
    assert sampler.steps_per_epoch == 10


def test_distinct_batches_have_no_item_twice() -> None:
    samples = samples_of([50, 1, 1, 1])
    sampler = PairSampler(samples, 16, 0.5, (0,), "distinct")
    for step in range(30):
        labels = samples.labels[sampler.draw(step)[: sampler.num_queries // 2], 0]
        assert len(set(labels.tolist())) == len(labels) <= 4


def test_shuffled_batches_have_no_photo_twice_and_follow_the_log() -> None:
    samples = samples_of([90, 10])
    sampler = PairSampler(samples, 40, 0.5, (0,), "shuffled")
    drawn = [sampler.draw(step)[:20] for step in range(200)]
    assert all(len(np.unique(photos)) == 20 for photos in drawn)
    share = np.mean([samples.labels[photos, 0] for photos in drawn])
    assert share == pytest.approx(0.1, abs=0.02)


def test_grouped_batches_have_two_photos_of_an_item_and_draw_items_evenly() -> None:
    samples = samples_of([90, 10, 5, 5])
    sampler = PairSampler(samples, 8, 0.5, (0,), "grouped")
    counts = np.zeros(4)
    for step in range(400):
        photos = sampler.draw(step)[:4]
        labels = samples.labels[photos, 0]
        assert np.array_equal(labels[::2], labels[1::2])
        assert len(np.unique(photos)) == 4
        counts += np.bincount(labels, minlength=4)
    assert counts / counts.sum() == pytest.approx([0.25] * 4, abs=0.05)


def test_a_photo_of_two_things_is_paired_with_either() -> None:
    samples = SampleSet(
        np.arange(2),
        np.array([False, True, True]),
        np.arange(3),
        np.array([[0, 1], [0, -1], [1, -1]]),
        np.ones((3, 2), np.float32),
        np.ones(2, np.float32),
    )
    sampler = PairSampler(samples, 2, 0.5, (0,), "shuffled")
    assert {int(sampler.draw(step)[1]) for step in range(40)} == {1, 2}


# Without training


def test_centred_vectors_have_the_mean_taken_away_and_length_one() -> None:
    vectors = np.array([[3.0, 1.0], [1.0, 2.0]], np.float32)
    found = centred(vectors, np.array([1.0, 1.0], np.float32))
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_the_nearest_document_and_the_nearest_photo() -> None:
    asked = np.array([[2.0, 0.1], [0.1, 2.0]], np.float32)
    photos = np.array([[2.0, 0.0], [0.0, 2.0], [-2.0, -2.0]], np.float32)
    documents = np.array([[15.0, 11.0], [11.0, 15.0], [10.0, 10.0]], np.float32)

    by_document = nearest_document(asked, photos, documents, np.array([5, 6, 7]), 1)
    assert by_document.items.tolist() == [[5], [6]]

    pairs = np.array([[0, 6], [1, 5], [1, 4], [2, 7]])
    by_photo = nearest_photo(asked, photos, pairs, 4)
    assert by_photo.items[:, :1].tolist() == [[6], [4]]
    assert sorted(by_photo.items[1].tolist()) == [4, 5, 6, 7]
