"""The truth is told from the queries table or from a table beside it, and aligned by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oclear.errors import InputError, TableError
from oclear.tables import need_truth, read_items, read_queries, read_truth


def test_from_the_queries_table(shop: Path) -> None:
    for path in (shop, shop / "queries.parquet"):
        truth = read_truth(path)
        assert truth is not None
        assert truth.table.to_pydict() == {"query_id": ["q1", "q1"], "item_id": ["i1", "i3"]}


def test_from_a_table_beside_or_named(write: Any, tmp_path: Path) -> None:
    queries = write("queries.csv", {"query_id": ["1"], "image_path": ["a"]})
    assert read_truth(tmp_path) is None
    truth = write("truth.parquet", {"query_id": [1, 1], "item_id": [5, 6]})
    for path in (tmp_path, queries, truth):
        found = read_truth(path)
        assert found is not None
        assert found.table.to_pydict() == {"query_id": ["1", "1"], "item_id": ["5", "6"]}


def test_alone(write: Any, tmp_path: Path) -> None:
    write("truth.jsonl", {"query_id": ["1"], "item_id": ["x"]})
    truth = read_truth(tmp_path)
    assert truth is not None
    assert len(truth) == 1


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no queries table"):
        read_truth(tmp_path)


def test_unknown_throughout_is_none(write: Any) -> None:
    columns = {"query_id": ["1"], "image_path": ["a"], "item_id": [None]}
    queries = write("queries.parquet", columns)
    assert read_truth(queries) is None
    with pytest.raises(InputError, match=r"no column 'item_id' with values") as refused:
        need_truth(queries, "Measures need it.")
    assert refused.value.hint == "Measures need it."


def test_known_is_what_is_needed(shop: Path) -> None:
    assert len(need_truth(shop, "Measures need it.")) == len(read_truth(shop))


def test_repeated_pair(write: Any) -> None:
    path = write("truth.csv", {"query_id": ["1", "2", "1"], "item_id": ["x", "x", "x"]})
    with pytest.raises(TableError, match=r"row 2: found '1' again \(first in row 0\)"):
        read_truth(path)


def test_truth_table_without_items(write: Any) -> None:
    path = write("truth.csv", {"query_id": ["1"], "item": ["x"]})
    write("queries.csv", {"query_id": ["1"], "image_path": ["a"]})
    with pytest.raises(TableError, match="Did you mean 'item'"):
        read_truth(path.parent)


def test_pairs_for_follows_the_given_rows(shop: Path) -> None:
    truth = read_truth(shop)
    assert truth is not None
    queries, items = read_queries(shop), read_items(shop).select(np.array([2, 1, 0]))
    indptr, rows = truth.pairs_for(queries, items)
    assert (indptr.tolist(), rows.tolist()) == ([0, 2, 2], [0, 2])
    indptr, rows = truth.pairs_for(queries.select(np.array([1, 0])), items)
    assert (indptr.tolist(), rows.tolist()) == ([0, 0, 2], [0, 2])
    indptr, rows = truth.pairs_for(queries.split("test"), items.select(np.array([1])))
    assert (indptr.tolist(), rows.tolist()) == ([0, 0], [])


def test_pairs_for_an_item_that_is_not_there(shop: Path) -> None:
    truth = read_truth(shop)
    assert truth is not None
    with pytest.raises(TableError, match=r"'i3' .truth of the query 'q1'., expected an item_id of"):
        truth.pairs_for(read_queries(shop), read_items(shop).select(np.array([0, 1])))
