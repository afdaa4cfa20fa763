"""How much memory a training will need, from the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

SMALL = ["model.image_size=32", "model.text_encoder=null"]


@pytest.fixture
def estimate(oclear: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def call(*arguments: object) -> dict[str, Any]:
        found: dict[str, Any] = oclear("estimate", "--json", *arguments, *SMALL).json
        return found

    return call


def test_many_classes_in_a_small_room_are_compared_with_their_neighbours_in_bf16(estimate):
    found = estimate("--classes", 10_000_000, "--dim", 256, "--room", 13)

    assert found["taken"] == "nearest classes in bf16"
    fp32, bf16 = (choice["parts"] for choice in found["choices"][:2])
    assert fp32["proxies: weight"] == 2 * bf16["proxies: weight"] == 10_000_000 * 256 * 4
    for choice in found["choices"]:
        assert sum(choice["parts"].values()) == choice["bytes"]


def test_more_ranks_make_room(estimate):
    options = ("--classes", 100_000_000, "--dim", 256, "--room", 16)
    assert estimate(*options)["taken"] is None
    assert estimate(*options, "--ranks", 8)["taken"] == "nearest classes in bf16"


def test_classes_are_counted_in_a_categorize_folder(estimate, demo):
    categories = demo.out / "categories"
    found = estimate("--samples", categories)

    known = pq.read_table(categories / "categories.parquet").to_pylist()
    assert found["classes"] == sum(row["queries"] > 0 for row in known)
    assert found["taken"] == "all classes in fp32"
    everything = estimate("--samples", categories, "training.document_only=keep")
    assert everything["classes"] == len(known)


def test_people_see_a_table_and_what_is_taken(oclear):
    found = oclear("estimate", "--classes", 200_000, "--room", 50, *SMALL)

    assert found.code == 0
    for text in ("200,000 classes x 256", "nearest classes", "proxies: weight", "taken: "):
        assert text in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "neither --classes nor --samples"),
        (["--samples", "nowhere"], "nowhere"),
        (["--classes", "5", "training.bogus=1"], "unknown configuration key"),
    ],
)
def test_what_cannot_be_estimated_is_refused(
    oclear, tmp_path: Path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    found = oclear("estimate", *arguments, *SMALL)

    assert found.code == 2
    assert message in found.stderr
    assert list(tmp_path.iterdir()) == []
