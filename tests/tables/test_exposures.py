"""The exposure log: its rules, and the merging of rows that are one exposure."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oclear.errors import TableError
from oclear.tables import Exposures, read_exposures, read_items, read_queries

GOOD: dict[str, Any] = {
    "request_id": ["r1", "r1", "r2"],
    "query_id": ["q1", "q1", "q2"],
    "item_id": ["i1", "i2", "i1"],
    "position": [0, 1, 0],
    "clicked": [True, False, False],
}
ReadLog = Callable[..., Exposures]


@pytest.fixture
def read_log(shop: Path, write: Any) -> ReadLog:
    def reader(columns: dict[str, Any] | pa.Table, name: str = "log.parquet") -> Exposures:
        path = write(name, columns)
        return read_exposures(path, read_items(shop), read_queries(shop))

    return reader


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_formats(read_log: ReadLog, suffix: str) -> None:
    optional = {
        "purchased": [True, None, False],
        "session_id": ["s", "s", None],
        "user_hash": ["u", None, "u"],
        "model_id": ["m", "m", "m"],
        "propensity": [1.0, 0.5, None],
    }
    log = read_log(GOOD | {"wrong": [1, 0, 1]} | optional, f"log.{suffix}")
    assert log.table.to_pydict() == GOOD | optional
    assert str(log.table.schema.field("position").type) == "int32"
    assert not log.simulated


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize(
    "clicked", [[1, 0, 0], ["1", "0", "0"], ["True", "false", "FALSE"], [1.0, 0.0, 0.0]]
)
def test_forms_of_clicked(read_log: ReadLog, suffix: str, clicked: list[Any]) -> None:
    log = read_log(GOOD | {"clicked": clicked}, f"log.{suffix}")
    assert log.table["clicked"].to_pylist() == [True, False, False]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize(
    "change, row, text",
    [
        ({"item_id": ["i1", "i9", "i8"]}, 1, "'i9' (unknown, as in 2 of 3 rows), expected an id"),
        ({"item_id": ["i1", "i9", "i8"]}, 1, "such as 'i1'"),
        ({"query_id": ["q8", "q8", "q2"]}, 0, "'q8' (unknown, as in 2 of 3 rows), expected an id"),
        ({"item_id": ["i1", None, "i1"]}, 1, "found null"),
        ({"request_id": [None, "r1", "r2"]}, 0, "found null"),
        ({"position": [0, -1, 0]}, 1, "-1"),
        ({"position": [0, 1, None]}, 2, "found null"),
        ({"position": [None, 1, 0]}, 0, "found null where clicked is true"),
        ({"position": [0, 1.5, 2]}, 1, "1.5"),
        ({"position": [0, 1, 3_000_000_000]}, 2, "below 2**31"),
        ({"clicked": [1, 0, 2]}, 2, "expected true or false"),
        ({"clicked": [True, None, False]}, 1, "found null"),
        ({"propensity": [1.0, 0.0, 0.5]}, 1, "expected a probability"),
        ({"propensity": [1.0, 0.5, 1.01]}, 2, "expected a probability"),
        ({"query_id": ["q1", "q2", "q2"]}, 1, "a request is one search"),
    ],
)
def test_wrong_rows(
    read_log: ReadLog, suffix: str, change: dict[str, Any], row: int, text: str
) -> None:
    with pytest.raises(TableError) as caught:
        read_log(GOOD | change, f"log.{suffix}")
    assert caught.value.row == row
    assert text in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(
    "change",
    [
        {"position": ["first", "second", "third"]},
        {"position": [True, False, True]},
        {"clicked": ["yes", "no", "no"]},
        {"clicked": [[1], [0], [0]]},
        {"session_id": [0.5, 1.5, 2.5]},
        {"propensity": [True, True, True]},
    ],
)
def test_wrong_types(read_log: ReadLog, change: dict[str, Any]) -> None:
    with pytest.raises(TableError):
        read_log(GOOD | change)


@pytest.mark.parametrize("column", ["request_id", "query_id", "item_id", "position", "clicked"])
def test_missing_column(read_log: ReadLog, column: str) -> None:
    columns = {name: values for name, values in GOOD.items() if name != column}
    with pytest.raises(TableError, match=f"found no column '{column}'"):
        read_log(columns)


def test_late_clicks_join_their_exposure(read_log: ReadLog) -> None:
    later = {
        "request_id": ["r1", "r1", "r2", "r1"],
        "query_id": ["q1", "q1", "q2", "q1"],
        "item_id": ["i1", "i2", "i1", "i2"],
        "position": [0, 1, 0, 7],
        "clicked": [False, False, False, True],
        "purchased": [None, None, None, True],
        "timestamp": [10**9, 10**9, 10**9, 10**9 + 60],
    }
    log = read_log(later)
    assert log.table["clicked"].to_pylist() == [False, True, False]
    assert log.table["purchased"].to_pylist() == [None, True, None]
    assert log.table["position"].to_pylist() == [0, 1, 0]
    assert len(set(log.table["timestamp"].to_pylist())) == 1


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.booleans(), st.none() | st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_merging_is_an_or_by_request_and_item(
    read_log: ReadLog, rows: list[tuple[int, int, bool, bool | None]]
) -> None:
    log = read_log(
        {
            "request_id": [r for r, *_ in rows],
            "query_id": [f"q{r % 2 + 1}" for r, *_ in rows],
            "item_id": [f"i{i}" for _, i, *_ in rows],
            "position": list(range(len(rows))),
            "clicked": [c for *_, c, _ in rows],
            "purchased": pa.array([p for *_, p in rows], pa.bool_()),
        }
    )
    clicked: dict[tuple[str, str], bool] = {}
    bought: dict[tuple[str, str], bool] = {}
    first: dict[tuple[str, str], int] = {}
    for position, (r, i, c, p) in enumerate(rows):
        key = (str(r), f"i{i}")
        clicked[key] = clicked.get(key, False) or c
        bought[key] = bought.get(key, False) or bool(p)
        first.setdefault(key, position)
    merged = log.table.to_pylist()
    assert [(row["request_id"], row["item_id"]) for row in merged] == list(clicked)
    assert [row["clicked"] for row in merged] == list(clicked.values())
    assert [bool(row["purchased"]) for row in merged] == list(bought.values())
    assert [row["position"] for row in merged] == list(first.values())


def test_a_few_unknown_ids_are_left_out_and_counted(read_log: ReadLog) -> None:
    """A late click is on the same exposure, so it does not count a second time."""
    rows = {
        "request_id": ["r1", "r1", "r1", "r2", "r3", "r3", "r3"],
        "query_id": ["q1", "q1", "q1", "q9", "q2", "q2", "q2"],
        "item_id": ["i1", "i9", "i9", "i2", "i1", "i2", "i3"],
        "position": [0, 1, 1, 0, 0, 1, 2],
        "clicked": [False, False, True, True, True, False, False],
    }
    log = read_log(rows)
    assert (log.unknown_items, log.unknown_queries) == (1, 1)
    assert log.table["request_id"].to_pylist() == ["r1", "r3", "r3", "r3"]
    assert log.table["item_id"].to_pylist() == ["i1", "i1", "i2", "i3"]
    assert log.select(np.array([0])).unknown_items == 1


def test_as_many_unknown_ids_as_known_ones_are_not_too_many(read_log: ReadLog) -> None:
    part = {name: values[:2] for name, values in GOOD.items()}
    assert len(read_log(part | {"item_id": ["i1", "i9"]})) == 1


LATE: dict[str, Any] = {
    "request_id": ["r1", "r1", "r2", "r1"],
    "query_id": ["q1", "q1", "q2", "q1"],
    "item_id": ["i1", "i2", "i1", "i2"],
    "position": [0, 1, 0, 1],
    "clicked": [False, False, False, True],
}
NOON = 1_700_000_000


def test_a_click_before_its_exposure_is_refused(read_log: ReadLog) -> None:
    with pytest.raises(TableError) as caught:
        read_log(LATE | {"timestamp": [NOON, NOON, NOON, NOON - 3600]})
    assert (caught.value.column, caught.value.row) == ("timestamp", 3)
    assert f"a click at {NOON - 3600}, expected a time after its exposure in row 1" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "times",
    [
        [NOON, NOON, NOON, NOON + 5],
        [NOON, NOON, NOON, NOON - 30],  # two clocks
        [NOON, NOON, NOON - 9000, NOON],  # rows in no order of time
        [NOON, NOON, NOON, None],
        [NOON, None, NOON, NOON - 9000],
        [None, None, None, None],
    ],
)
def test_times_in_no_order_are_no_error(read_log: ReadLog, times: list[Any]) -> None:
    stamps = pa.array(times, pa.int64())
    assert read_log(pa.table(LATE | {"timestamp": stamps})).table["clicked"][1].as_py()


def test_a_click_logged_before_its_exposure_is_no_click_before_it(read_log: ReadLog) -> None:
    """Rows may come in any order; and what was clicked at once may be shown again."""
    back = {name: values[::-1] for name, values in LATE.items()}
    assert len(read_log(back | {"timestamp": [NOON + 5, NOON, NOON, NOON]})) == 3
    assert len(read_log(back | {"timestamp": [NOON, NOON, NOON + 900, NOON + 900]})) == 3


@pytest.mark.parametrize(
    "wrong, read_as",
    [
        (NOON // 1000, "1970-01-20"),
        (NOON * 10, "2508-"),
        (dt.datetime(1980, 1, 1).timestamp(), "1980-"),
        (dt.datetime.now(dt.UTC).timestamp() + 3 * 86_400, "20"),
    ],
    ids=["seconds", "ten times", "before", "to come"],
)
def test_times_of_another_unit_are_refused(read_log: ReadLog, wrong: float, read_as: str) -> None:
    with pytest.raises(TableError) as caught:
        read_log(GOOD | {"timestamp": [float(NOON), float(NOON), wrong]})
    assert caught.value.row == 2
    assert f"that is {read_as}" in str(caught.value)
    assert "seconds, milli-" in (caught.value.hint or "")


def test_a_simulated_log_may_run_ahead_of_the_clock(read_log: ReadLog) -> None:
    later = [dt.datetime.now() + dt.timedelta(days=30)] * 3
    table = pa.table(GOOD | {"timestamp": pa.array(later, pa.timestamp("us"))})
    with pytest.raises(TableError, match="not in the future"):
        read_log(table)
    assert len(read_log(table.replace_schema_metadata({"simulated": "true"}))) == 3


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 8), max_size=12))
def test_duplicated_rows_change_nothing(read_log: ReadLog, again: list[int]) -> None:
    rows = pa.table(
        {
            "request_id": [f"r{k // 3}" for k in range(9)],
            "query_id": [f"q{k // 3 % 2 + 1}" for k in range(9)],
            "item_id": [f"i{k % 3 + 1}" for k in range(9)],
            "position": [k % 3 for k in range(9)],
            "clicked": [k % 4 == 0 for k in range(9)],
            "timestamp": [NOON + k for k in range(9)],
        }
    )
    twice = pa.concat_tables([rows, rows.take(pa.array(again, pa.int64()))])
    assert read_log(twice).table.equals(read_log(rows).table)


def test_simulated_mark_survives(shop: Path) -> None:
    table = pa.table(GOOD).replace_schema_metadata({"simulated": "true", "wrong": "0.2"})
    pq.write_table(table, shop / "exposures.parquet")
    log = read_exposures(shop, read_items(shop), read_queries(shop))
    assert log.simulated
    assert log.select(np.array([0])).simulated
    assert len(log.select(np.array([True, False, True]))) == 2


def test_one_simulated_part_makes_all_simulated(shop: Path) -> None:
    (shop / "exposures").mkdir()
    pq.write_table(pa.table(GOOD), shop / "exposures" / "part-0.parquet")
    later = pa.table(GOOD | {"request_id": ["r3", "r3", "r4"]})
    marked = later.replace_schema_metadata({"simulated": "true"})
    pq.write_table(marked, shop / "exposures" / "part-1.parquet")
    log = read_exposures(shop, read_items(shop), read_queries(shop))
    assert log.simulated
    assert len(log) == 6


def test_number_ids_meet_number_ids(write: Any, tmp_path: Path) -> None:
    write("items.parquet", {"item_id": [1, 2], "image_path": ["a", "b"]})
    write("queries.csv", {"query_id": ["5"], "image_path": ["a"]})
    columns = {"request_id": [1], "query_id": [5], "item_id": [2], "position": [0], "clicked": [1]}
    path = write("exposures.jsonl", columns)
    log = read_exposures(path, read_items(tmp_path), read_queries(tmp_path))
    assert log.table["item_id"].to_pylist() == ["2"]


def test_many_chunks(read_log: ReadLog) -> None:
    """Row numbers, codes and merging hold across the chunks of an Arrow column."""
    part = pa.table(GOOD)
    parts = [
        part.set_column(0, "request_id", pa.array([f"a{k}", f"a{k}", f"b{k % 7}"]))
        for k in range(20)
    ]
    log = read_log(pa.concat_tables(parts))
    assert len(log) == 47
