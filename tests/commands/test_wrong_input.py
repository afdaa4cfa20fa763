"""Wrong tables given to ``oclear categorize``: one clear line each, exit code 2, nothing left behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

COUNT, NOON = 30, 1_700_000_000
MODEL = ["model.image_size=32", "model.embedding_dim=16", "model.text_encoder=null"]
Rows = dict[str, list[Any]]
Change = dict[str, Callable[[Rows], Rows]]


def good() -> dict[str, Rows]:
    """Thirty items, a photo of each, and a search with each photo that shows three items."""
    shown = range(3 * COUNT)
    return {
        "items": {
            "item_id": [f"i{k}" for k in range(COUNT)],
            "image_path": [f"images/{k}.png" for k in range(COUNT)],
            "title": [f"thing {k}" for k in range(COUNT)],
            "barcode": [f"b{k // 2}" for k in range(COUNT)],
        },
        "queries": {
            "query_id": [f"q{k}" for k in range(COUNT)],
            "image_path": [f"images/{k}.png" for k in range(COUNT)],
        },
        "exposures": {
            "request_id": [f"r{k // 3}" for k in shown],
            "query_id": [f"q{k // 3}" for k in shown],
            "item_id": [f"i{(k // 3 + k % 3) % COUNT}" for k in shown],
            "position": [k % 3 for k in shown],
            "clicked": [k % 3 == 0 for k in shown],
            "timestamp": [NOON + k for k in shown],
        },
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k in range(COUNT):
        noise = rng.integers(0, 255, (24, 24, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{k}.png")
    return folder


@pytest.fixture
def categorize(oclear: Callable[..., Any], pictures: Path, tmp_path: Path) -> Callable[..., Any]:
    """``categorize({"items": change}, ...)``: runs on the good tables with changes, into ``tmp_path/out``."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "images").symlink_to(pictures)

    def run(changes: Change, *extra: object, out: str = "out") -> Any:
        shop = tmp_path / "shop"
        for name, rows in good().items():
            pq.write_table(pa.table(changes.get(name, dict)(rows)), shop / f"{name}.parquet")
        given = ("--items", shop, "--queries", shop, "--exposures", shop)
        return oclear("categorize", *given, "--out", tmp_path / out, "--json", *MODEL, *extra)

    return run


def at(column: str, row: int, value: Any) -> Callable[[Rows], Rows]:
    """One cell changed."""
    return lambda rows: {
        **rows,
        column: [value if k == row else old for k, old in enumerate(rows[column])],
    }


def each(column: str, function: Callable[[int, Any], Any]) -> Callable[[Rows], Rows]:
    """Every cell of a column changed, by row number and value."""
    return lambda rows: {
        **rows,
        column: [function(k, old) for k, old in enumerate(rows[column])],
    }


def with_late_click(seconds: int) -> Callable[[Rows], Rows]:
    """A row more: the item in row 7, shown and not clicked, is clicked after all, so much later."""

    def change(rows: Rows) -> Rows:
        late = {name: values[7] for name, values in rows.items()}
        late |= {"clicked": True, "timestamp": late["timestamp"] + seconds}
        return {name: [*values, late[name]] for name, values in rows.items()}

    return change


def without(column: str) -> Callable[[Rows], Rows]:
    return lambda rows: {name: values for name, values in rows.items() if name != column}


WRONG: dict[str, tuple[Change, tuple[str, ...]]] = {
    "unknown items": (
        {"exposures": each("item_id", lambda k, old: f"x{old}" if k % 3 else old)},
        ("exposures.parquet, column 'item_id', row 1: found 'xi1'", "60 of 90 rows", "'i0'"),
    ),
    "unknown queries": (
        {"exposures": each("query_id", lambda k, old: f"photo-{old}")},
        ("exposures.parquet, column 'query_id', row 0: found 'photo-q0'", "such as 'q0'"),
    ),
    "a click without exposure": (
        {"exposures": at("position", 3, None)},
        ("exposures.parquet, column 'position', row 3: found null where clicked is true",),
    ),
    "an exposure without position": (
        {"exposures": at("position", 4, None)},
        (
            "exposures.parquet, column 'position', row 4: found null, expected a whole number from 0",
        ),
    ),
    "a negative position": (
        {"exposures": at("position", 4, -1)},
        ("exposures.parquet, column 'position', row 4: found -1, expected a whole number from 0",),
    ),
    "time going backwards": (
        {"exposures": with_late_click(-3600)},
        ("exposures.parquet, column 'timestamp', row 90: found a click at", "in row 7"),
    ),
    "milliseconds among seconds": (
        {"exposures": at("timestamp", 5, NOON * 1000)},
        ("exposures.parquet, column 'timestamp', row 0: found 1700000000, that is 1970-01-20",),
    ),
    "times to come": (
        {"exposures": each("timestamp", lambda k, old: old * 10)},
        ("exposures.parquet, column 'timestamp', row 0", "that is 2508-", "not in the future"),
    ),
    "null in the log": (
        {"exposures": at("item_id", 5, None)},
        ("exposures.parquet, column 'item_id', row 5: found null",),
    ),
    "null clicked": (
        {"exposures": at("clicked", 5, None)},
        ("exposures.parquet, column 'clicked', row 5: found null, expected true or false",),
    ),
    "no click": (
        {"exposures": each("clicked", lambda k, old: False)},
        ("none of its 90 exposures is clicked",),
    ),
    "no click on what is known": (
        {"exposures": each("item_id", lambda k, old: old if k % 3 else f"x{old}")},
        ("none of its 60 exposures of known items and queries is clicked",),
    ),
    "null item id": (
        {"items": at("item_id", 5, None)},
        ("items.parquet, column 'item_id', row 5: found null, expected an id in every row",),
    ),
    "an item twice": (
        {"items": at("item_id", 5, "i4")},
        ("items.parquet, column 'item_id', row 5: found 'i4' again (first in row 4)",),
    ),
    "null query id": (
        {"queries": at("query_id", 5, None)},
        ("queries.parquet, column 'query_id', row 5: found null, expected an id in every row",),
    ),
    "a query twice": (
        {"queries": at("query_id", 5, "q4")},
        ("queries.parquet, column 'query_id', row 5: found 'q4' again (first in row 4)",),
    ),
    "a constant key": (
        {"items": each("barcode", lambda k, old: "none yet")},
        ("items.parquet, column 'barcode', row 0: found the same value 'none yet' in all 30 rows",),
    ),
    "a key that is the same for most": (
        {"items": each("barcode", lambda k, old: "none yet" if k < 21 else old)},
        (
            "items.parquet, column 'barcode', row 0: found the same value 'none yet' in 21 of the 30",
        ),
    ),
    "no image column": (
        {"items": without("image_path")},
        ("items.parquet: found no column 'image_path'",),
    ),
    "no readable picture of an item": (
        {"items": each("image_path", lambda k, old: f"nowhere/{old}")},
        (
            "items.parquet, column 'image_path': found not one readable picture among 30",
            "'nowhere/images/0.png' of 'i0': missing file",
        ),
    ),
    "no picture of an item": (
        {"items": each("image_path", lambda k, old: "")},
        ("items.parquet, column 'image_path': found not one readable picture", "no picture given"),
    ),
    "no readable photo": (
        {"queries": each("image_path", lambda k, old: f"nowhere/{old}")},
        ("queries.parquet, column 'image_path': found not one readable picture", "of 'q0'"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_gets_one_clear_line(categorize, tmp_path, monkeypatch, name):
    def started(*arguments: object) -> None:
        raise AssertionError("work was started")

    monkeypatch.setattr("oclear.commands.categorize.open_eye", started)
    changes, parts = WRONG[name]
    found = categorize(changes, "max_bad_images=1")

    assert found.code == 2, found.stderr
    lines = [line for line in found.stderr.splitlines() if not line.startswith("photos by split")]
    lines = [line for line in lines if not line.startswith("left out")]
    assert lines[0].startswith("error: ") and len(lines) <= 2, found.stderr
    for part in parts:
        assert part in lines[0]
    assert "Traceback" not in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_true_items_that_are_not_there_are_refused_before_any_work(
    categorize, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        "oclear.commands.categorize.open_eye", lambda *given: pytest.fail("started")
    )
    truth = {"queries": lambda rows: {**rows, "item_id": [*["i0"] * 29, "gone"]}}
    found = categorize(truth, "--labels", "truth")
    assert found.code == 2
    assert (
        "queries.parquet, column 'item_id': found 'gone' (truth of the query 'q29')" in found.stderr
    )
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def groups(folder: Path) -> dict[tuple[str, str], int]:
    rows = pq.read_table(folder / "samples.parquet", partitioning=None).to_pylist()
    return {(row["side"], row["key"]): row["category_id"] for row in rows}


def test_retired_items_late_clicks_and_repeated_rows_are_no_error(categorize, tmp_path):
    plain = categorize({}, out="plain").json
    assert "exposures_of_unknown_items" not in plain

    twice = {"exposures": lambda rows: {name: values * 2 for name, values in rows.items()}}
    again = categorize(twice, out="again").json
    assert groups(tmp_path / "again") == groups(tmp_path / "plain")
    assert (again["exposures"], again["clicks"]) == (plain["exposures"], plain["clicks"])
    assert again["examination_by_position"] == plain["examination_by_position"]

    late = categorize({"exposures": with_late_click(3600)}, out="late").json
    assert (late["exposures"], late["clicks"]) == (90, plain["clicks"] + 1)

    found = categorize({"exposures": at("item_id", 4, "retired")}, out="retired")
    assert found.json["exposures_of_unknown_items"] == 1
    assert found.json["exposures"] == 89
    assert "left out: 1 exposures of items that are not in the items table" in found.stderr
