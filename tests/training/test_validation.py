"""Identical@1 on photos held out of training."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from oclear.tables import Items, Queries, Truth
from oclear.training import ValidationSet
from oclear.training.validation import Embedded

ITEMS = Items(
    Path("items"), pa.table({"item_id": list("abcde"), "image_path": [f"{i}.png" for i in "abcde"]})
)
QUERIES = Queries(
    Path("queries"),
    pa.table({"query_id": list("pqrs"), "image_path": [f"{q}.png" for q in "pqrs"]}),
)


def truth(*pairs: str) -> Truth:
    queries, items = zip(*pairs, strict=True)
    return Truth(Path("truth"), pa.table({"query_id": list(queries), "item_id": list(items)}))


def build(found: Truth, most: int = 100, gallery: int = 100) -> ValidationSet | None:
    return ValidationSet.build(
        QUERIES, ITEMS, found, source="truth", max_queries=most, max_gallery=gallery
    )


def directions(*angles: float) -> torch.Tensor:
    radians = torch.tensor(angles).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_a_hand_made_case():
    # p shows a and b, q shows c, r shows e; s has no truth and does not count.
    found = build(truth("pb", "pa", "qc", "re"))
    assert found.queries.ids.tolist() == ["p", "q", "r"]
    assert found.gallery.tolist() == [0, 1, 2, 3, 4]

    score = found.identical_at_1(
        Embedded(
            directions(12, 52, 80),
            np.array([0, 1, 2]),
            directions(0, 10, 40, 60, 90),
            np.array([0, 1, 2, 3, 4]),
        )
    )
    assert score == pytest.approx(2 / 3)  # q is nearer to d


def test_the_nearest_document_decides():
    found = build(truth("pa", "qc", "re"))
    # Item c has two pictures; the second one is the nearest to q.
    documents = directions(0, 40, 55, 60, 90)

    hit = found.identical_at_1(
        Embedded(directions(1, 56, 1), np.array([0, 1, 2]), documents, np.array([0, 2, 2, 3, 4]))
    )
    missed = found.identical_at_1(
        Embedded(directions(1, 58, 1), np.array([0, 1, 2]), documents, np.array([0, 2, 2, 3, 4]))
    )
    assert hit == pytest.approx(2 / 3)
    assert missed == pytest.approx(1 / 3)


def test_a_photo_that_could_not_be_read_counts_as_missed():
    found = build(truth("pa", "qb"))

    score = found.identical_at_1(
        Embedded(directions(90), np.array([1]), directions(0, 90), np.array([0, 1]))
    )
    assert score == 0.5
    nothing = torch.empty(0, 2)
    assert (
        found.identical_at_1(Embedded(nothing, np.empty(0, int), directions(0), np.array([0]))) == 0
    )
    assert (
        found.identical_at_1(Embedded(directions(0), np.array([0]), nothing, np.empty(0, int))) == 0
    )


def test_more_photos_than_a_block():
    count = 700
    queries = Queries(
        Path("queries"),
        pa.table({"query_id": [f"q{i}" for i in range(count)], "image_path": ["x.png"] * count}),
    )
    pairs = pa.table(
        {
            "query_id": [f"q{i}" for i in range(count)],
            "item_id": [ITEMS.ids[i % 5] for i in range(count)],
        }
    )
    found = ValidationSet.build(
        queries, ITEMS, Truth(Path("t"), pairs), source="truth", max_queries=count, max_gallery=9
    )
    vectors = torch.eye(5)[torch.arange(count) % 5]
    vectors[-3:] = -1.0

    score = found.identical_at_1(Embedded(vectors, np.arange(count), torch.eye(5), np.arange(5)))
    # The last three show items 2, 3 and 4 and are as near to all; the first item is taken.
    assert score == pytest.approx((count - 3) / count)


def test_the_set_is_bounded_and_holds_the_true_items():
    found = build(truth("pe", "qd", "rc", "sb"), most=2, gallery=3)

    assert len(found.queries) == 2
    assert len(found.gallery) == 3
    assert (np.diff(found.gallery) > 0).all()
    assert set(found.item_rows) <= set(found.gallery)
    # Every true item stays, also where there are more of them than room.
    assert len(build(truth("pe", "qd", "rc", "sb"), gallery=1).gallery) == 4


def test_the_same_seed_chooses_the_same():
    found, again = (build(truth("pe", "qd", "rc", "sb"), most=2, gallery=3) for _ in range(2))

    assert found.queries.ids.tolist() == again.queries.ids.tolist()
    np.testing.assert_array_equal(found.gallery, again.gallery)


def test_no_truth_at_all_is_no_set():
    assert build(truth("xa")) is None


@pytest.mark.parametrize("seed", range(5))
def test_reciprocal_rank_against_a_plain_loop(seed: int) -> None:
    found = build(truth("pb", "pa", "qc", "re"))
    draws = torch.Generator().manual_seed(seed)
    photos, documents = (torch.randn(n, 4, generator=draws) for n in (2, 7))
    items = np.array([0, 0, 1, 2, 3, 3, 3])  # item e, which r shows, has no document
    true = {0: {0, 1}, 1: {2}, 2: {4}}
    total = 0.0
    for vector, row in zip(photos, (0, 1), strict=True):
        scores = (documents @ vector).tolist()
        nearest = {i: max(s for s, j in zip(scores, items, strict=True) if j == i) for i in items}
        order = sorted(nearest, key=lambda i: -nearest[i])
        total += 1 / (1 + min(order.index(i) for i in true[row]))

    measured = found.mean_reciprocal_rank(Embedded(photos, np.array([0, 1]), documents, items))

    assert measured == pytest.approx(total / 3)  # the photo that could not be read counts as missed


def test_reciprocal_rank_of_an_item_without_documents_is_nothing() -> None:
    found = build(truth("pa", "qc", "re"))
    nothing = found.mean_reciprocal_rank(
        Embedded(directions(0, 0, 80), np.array([0, 1, 2]), directions(0, 90), np.array([0, 1]))
    )

    assert nothing == pytest.approx(1 / 3)
    assert found.mean_reciprocal_rank(Embedded(*[torch.empty(0, 2), np.empty(0, int)] * 2)) == 0.0
