"""The catalogue's rules, each refused with file, column, row, what was found and what is expected."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from oclear.errors import InputError, TableError
from oclear.tables import read_items

GOOD: dict[str, Any] = {"item_id": ["a", "b", "c"], "image_path": ["1", "2", "3"]}


def refusal(path: Path) -> TableError:
    with pytest.raises(TableError) as caught:
        read_items(path)
    assert len(str(caught.value).splitlines()) <= 3
    return caught.value


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    "change, column, row, found",
    [
        ({"item_id": ["a", "b", "a"]}, "item_id", 2, "'a' again (first in row 0)"),
        ({"item_id": ["a", None, "c"]}, "item_id", 1, "found null, expected an id in every row"),
        (
            {"image_path": ["1", "https://x.com/2.jpg", "3"]},
            "image_path",
            1,
            "'https://x.com/2.jpg'",
        ),
    ],
)
def test_wrong_rows(
    write: Any, suffix: str, change: dict[str, Any], column: str, row: int, found: str
) -> None:
    error = refusal(write(f"items.{suffix}", GOOD | change))
    assert (error.column, error.row) == (column, row)
    assert found in str(error)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_missing_column_names_the_nearest(write: Any, suffix: str) -> None:
    error = refusal(write(f"items.{suffix}", {"itemid": ["a"], "image_path": ["1"]}))
    assert "found no column 'item_id', expected one" in str(error)
    assert "Did you mean 'itemid'?" in str(error)


def test_no_image_column(write: Any) -> None:
    error = refusal(write("items.parquet", {"item_id": ["a"], "image_paths": ["1"]}))
    assert "Did you mean 'image_paths'?" in str(error)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_no_rows(write: Any, suffix: str) -> None:
    table = pa.table(
        {"item_id": pa.array([], pa.string()), "image_path": pa.array([], pa.string())}
    )
    assert "found no rows" in str(refusal(write(f"items.{suffix}", table)))


def test_a_column_twice(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,item_id,image_path\n1,2,a\n")
    assert "column 'item_id': found two columns of this name" in str(
        refusal(tmp_path / "items.csv")
    )


def test_whole_numbers_become_ids_and_other_numbers_do_not(write: Any) -> None:
    items = read_items(write("items.parquet", GOOD | {"item_id": [10, 2, 3]}))
    assert items.ids.tolist() == ["10", "2", "3"]
    error = refusal(write("items.parquet", GOOD | {"item_id": [1.0, 2.0, 3.5]}))
    assert "double values such as 1.0, expected text" in str(error)
    assert "write them as text" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"item_id": [True, False, True]},
        {"item_id": ["a", "", "c"]},
        {"title": [1, 2, 3]},
        {"image_path": [1, 2, 3]},
        {"image_path": [[1], [2], [3]]},
        {"image": [b"1", b"2", b"3"]},
        {"image": [{"bytes": b"1"}] * 3},
        {"image_path": [["1"], ["2", "s3://bucket/x"], []]},
    ],
)
def test_wrong_types_and_values(write: Any, change: dict[str, Any]) -> None:
    refusal(write("items.parquet", GOOD | change))


def test_a_blank_coarse_label_is_none(write: Any) -> None:
    """Else all items without a group would be one."""
    columns = {"item_id": ["1", "2", "3"], "image_path": ["a"] * 3, "coarse_label": ["", " ", "x"]}
    found = read_items(write("items.parquet", columns)).table["coarse_label"]
    assert found.to_pylist() == [None, None, "x"]


def test_address_in_a_list_names_the_row(write: Any) -> None:
    change = {"image_path": [["1", "x"], None, ["2", "s3://bucket/x"]]}
    assert refusal(write("items.parquet", GOOD | change)).row == 2


def test_columns_kept(shop: Path) -> None:
    items = read_items(shop)
    assert items.path == shop / "items.parquet"
    assert items.table.column_names == ["item_id", "image_path", "title", "price"]
    assert len(items) == 3


def test_select(shop: Path) -> None:
    items = read_items(shop)
    assert items.select(np.array([2, 0])).ids.tolist() == ["i3", "i1"]
    assert items.select(np.array([False, True, False])).ids.tolist() == ["i2"]
    assert len(items.select(np.array([], np.int64))) == 0
    with pytest.raises(IndexError):
        items.select(np.array([True]))


def test_texts(write: Any) -> None:
    columns = GOOD | {
        "title": ["Tea", None, " "],
        "tags": [["hot", "green"], [], None],
        "price": [2, None, 3],
    }
    items = read_items(write("items.parquet", columns))
    assert items.texts(["title", "tags", "price"]) == ["Tea. hot, green. 2", "", "3"]
    assert items.texts([]) == ["", "", ""]
    with pytest.raises(InputError, match="Did you mean 'title'"):
        items.texts(["titel"])
