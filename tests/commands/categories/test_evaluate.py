"""``oclear categories evaluate`` on a folder of six items, whose measures can be worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.governance.categories import SAMPLES_SCHEMA

# Two sellers of a in one ID, b and c wrongly in one, the two sellers of d apart.
DOCUMENTS = [("a1", 10), ("a1", 10), ("a2", 10), ("b1", 11), ("c1", 11), ("d1", 12), ("d2", 13)]
PHOTOS = [("photo of a", 10), ("photo of b", 12), ("photo of two", 10), ("photo of two", 11)]


def write(path: Path, metadata: dict[str, str] | None = None, **columns: list[Any]) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def write_samples(folder: Path, documents: list[tuple[str, int]], photos: list[Any]) -> None:
    rows = [("document", *d) for d in documents] + [("query", *p) for p in photos]
    seen: list[str] = []
    table = []
    for number, (side, key, category) in enumerate(rows):
        part = seen.count(key) if side == "document" else 0
        seen.append(key)
        table.append((number, side, key, part, category, 1.0, "test"))
    columns = zip(SAMPLES_SCHEMA.names, zip(*table, strict=True), strict=True)
    pq.write_table(pa.table({n: list(c) for n, c in columns}, SAMPLES_SCHEMA), folder)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """``given/categories`` and the tables beside it."""
    folder = tmp_path / "categories"
    folder.mkdir()
    write_samples(folder / "samples.parquet", DOCUMENTS, PHOTOS)
    write(folder / "categories.parquet", category_id=[10, 11, 12, 13])
    write(folder / "links.parquet", id_a=pa.array([], pa.int64()))
    write(folder / "validation.parquet", query_id=["held out"], item_id=["a1"])
    manifest = {"format_version": 1, "next_category_id": 14, "summary": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write(
        tmp_path / "products.parquet",
        item_id=["d2", "d1", "c1", "b1", "a2", "a1", "gone"],
        product_id=["d", "d", "c", "b", "a", "a", "a"],
    )
    photos = ["photo of a", "photo of b", "photo of two", "photo of two", "left out", "held out"]
    write(
        tmp_path / "queries.parquet",
        query_id=[*photos, "tested"],
        image_path=["x.png"] * 7,
        split=["train"] * 6 + ["test"],
        item_id=["a2", "b1", "a1", "c1", "d1", "a1", "d1"],
    )
    # One exposure logged twice; d1 and d2 never shown.
    shown = ["a1"] * 12 + ["a2"] * 7 + ["b1", "c1", "c1"]
    write(
        tmp_path / "exposures.parquet",
        {"simulated": "true"},
        request_id=[f"r{n}" for n in range(21)] + ["r20"],
        item_id=shown,
    )
    return tmp_path


@pytest.fixture
def run(oclear: Callable[..., Any], given: Path) -> Callable[..., Any]:
    """``run("truth", "queries", items=...)``: with the tables of these names."""

    def runner(*tables: str, json_: bool = True, **others: Path) -> Any:
        places = {
            name: given / f"{'products' if name == 'truth' else name}.parquet" for name in tables
        }
        options = [
            word for name, path in {**places, **others}.items() for word in (f"--{name}", path)
        ]
        asked = ["--json"] if json_ else []
        return oclear(
            "categories", "evaluate", "--categories", given / "categories", *options, *asked
        )

    return runner


def test_measures_as_worked_out_by_hand(run):
    data = run("truth").json

    measures = data["measures"]
    assert (measures["pair_precision"], measures["pair_recall"], measures["pair_f1"]) == (0.5,) * 3
    assert measures["bcubed_precision"] == pytest.approx((1 + 1 + 0.5 + 0.5 + 1 + 1) / 6)
    assert measures["bcubed_macro_precision"] == pytest.approx((1 + 0.5 + 0.5 + 1) / 4)
    assert measures["bcubed_macro_recall"] == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert (measures["over_merge"], measures["over_split"]) == (0.25, 0.25)
    assert measures["purity"] == pytest.approx(5 / 6)
    assert measures["largest"] == 2
    # Sizes 1, 1, 2, 2 in items; 1, 2, 3, 5 in samples.
    assert measures["gini"] == pytest.approx(1 / 6)
    assert measures["gini_samples"] == pytest.approx(13 / 44)
    assert (data["items"], data["category_ids"]) == (6, 4)
    assert data["truth"] == {
        "items": 6,
        "products": 4,
        "products_of_several_items": 2,
        "unknown_items": 1,
    }
    assert data["groups"] == {} and data["queries"] is None


def test_labels_of_photos(run):
    data = run("queries").json

    # Right: a in 10, and the photo of two things twice; wrong: b in 12. Neither test nor held-out photos are missed.
    assert data["measures"]["label_purity"] == 0.75
    assert data["measures"]["queries_in_an_id"] == 0.75
    assert data["queries"]["queries"] == 4
    assert "pair_precision" not in data["measures"]


def test_groups_by_exposure(run):
    data = run("truth", "exposures").json

    assert data["exposures"] == {"exposures": 21, "of_unknown_items": 0, "simulated": True}
    assert {name: part["items"] for name, part in data["groups"].items()} == {
        "never_exposed": 2,
        "exposed": 4,
        "head": 1,
        "middle": 1,
        "tail": 2,
    }
    unseen = data["groups"]["never_exposed"]["measures"]
    assert unseen["pair_precision"] is None, "they are in no pair"
    assert (unseen["pair_recall"], unseen["pair_recall_both"]) == (0, 0)
    # d1 is alone with a photo, d2 alone; b1 and c1 have each other.
    assert unseen["coverage"] == 0.5
    assert data["groups"]["tail"]["measures"]["coverage"] == 1
    assert data["measures"]["tail_coverage"] == 0.75
    head = data["groups"]["head"]["measures"]
    assert (head["pair_precision"], head["pair_recall"]) == (1, 1)
    assert head["pair_recall_both"] is None


def test_items_of_the_catalogue_in_no_id_cost_recall(run, given):
    items = write(given / "items.parquet", item_id=["a1", "a2", "b1", "c1", "d1", "d2", "gone"])

    data = run("truth", items=items).json

    assert (data["items"], data["items_in_no_id"], data["truth"]["unknown_items"]) == (7, 1, 0)
    assert data["measures"]["pair_recall"] == 0.25, "of three pairs of a and one of d"
    assert data["measures"]["pair_precision"] == 0.5


def test_truth_may_be_csv_with_numbers_and_gaps(run, given):
    truth = given / "truth.csv"
    truth.write_text("item_id,product_id\na1,7\na2,7\nb1,\nc1,8\n")

    data = run(truth=truth).json

    assert (data["truth"]["items"], data["truth"]["products"]) == (3, 2)
    assert (data["measures"]["pair_precision"], data["measures"]["over_merge"]) == (1, 0)


def test_the_view_is_for_people(run):
    shown = run("truth", "queries", "exposures", json_=False)

    assert shown.code == 0, shown.stderr
    for text in ("pair_precision", "never ", "label_purity", "(simulated log)", "0.7500"):
        assert text in shown.stdout
    assert "1 items of the truth are not in the folder" in shown.stderr
    assert "nan" not in shown.stdout


def two_ids(given: Path) -> None:
    write_samples(given / "categories" / "samples.parquet", [*DOCUMENTS, ("d2", 12)], PHOTOS)


FAULTS: dict[str, tuple[Callable[[Path], Any], list[str], list[str]]] = {
    "no products column": (
        lambda given: write(given / "products.parquet", item_id=["a1"], product=["a"]),
        ["truth"],
        ["products.parquet", "no column 'product_id'", "'product'"],
    ),
    "truth of photos as truth of items": (
        lambda given: write(given / "products.parquet", query_id=["q"], item_id=["a1"]),
        ["truth"],
        ["the true items of photos", "--queries"],
    ),
    "truth of other items": (
        lambda given: write(given / "products.parquet", item_id=["x"], product_id=["a"]),
        ["truth"],
        ["none of its 1 item ids", "'x'"],
    ),
    "no product known": (
        lambda given: write(
            given / "products.parquet", item_id=["a1"], product_id=pa.array([None], pa.string())
        ),
        ["truth"],
        ["column 'product_id'", "null in every row"],
    ),
    "an item of two products": (
        lambda given: write(
            given / "products.parquet", item_id=["a1", "a1"], product_id=["a", "b"]
        ),
        ["truth"],
        ["row 1", "'a1' again"],
    ),
    "a log of other items": (
        lambda given: write(given / "exposures.parquet", request_id=["r"], item_id=["x"]),
        ["truth", "exposures"],
        ["exposures.parquet", "none of its 1 item ids"],
    ),
    "a log without requests": (
        lambda given: write(given / "exposures.parquet", item_id=["a1"]),
        ["truth", "exposures"],
        ["no column 'request_id'"],
    ),
    "photos of another folder": (
        lambda given: write(
            given / "queries.parquet", query_id=["x"], image_path=["x.png"], item_id=["a1"]
        ),
        ["queries"],
        ["none of the 4 photos"],
    ),
    "photos without truth alone": (
        lambda given: write(
            given / "queries.parquet", query_id=["photo of a"], image_path=["x.png"]
        ),
        ["queries"],
        ["the true item of none of the photos", "--truth"],
    ),
    "pictures of an item in two ids": (two_ids, ["truth"], ["pictures of item 'd2'", "several"]),
    "nothing to judge by": (lambda given: None, ["exposures"], ["--truth, --queries, or both"]),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_wrong_input_is_refused_in_a_clear_line(run, given, fault):
    spoil, tables, messages = FAULTS[fault]
    spoil(given)

    found = run(*tables)

    assert (found.code, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) <= 3
    for message in messages:
        assert message in found.stderr


def test_what_is_unknown_in_part_is_counted(run, given):
    write(given / "exposures.parquet", request_id=["1", "2", "3"], item_id=["a1", "other", "other"])
    write(
        given / "queries.parquet",
        query_id=["photo of a", "photo of b"],
        image_path=["x.png"] * 2,
        item_id=["a1", "sold out"],
    )

    data = run("truth", "queries", "exposures").json

    assert (data["exposures"]["exposures"], data["exposures"]["of_unknown_items"]) == (1, 2)
    assert data["queries"]["memberships_of_unknown_queries"] == 2
    assert data["measures"]["label_purity"] == 0.5, "a true item in no ID is none that an ID holds"
