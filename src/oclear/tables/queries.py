"""The photos people search with, without their answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.tables.boxes import box_column
from oclear.tables.checks import (
    codes_of,
    first_repeat,
    first_rows,
    id_column,
    pair_codes,
    refuse_repeats,
    text_column,
)
from oclear.tables.pictures import Pictures, check_pictures, pictures_of
from oclear.tables.read import need_table, read_source
from oclear.tables.schema import IMAGE_PATH, ITEM_ID, QUERY_COLUMNS, QUERY_ID
from oclear.tables.selection import select_rows
from oclear.tables.source import Source, show
from oclear.tables.times import refuse_odd_times, time_column


@dataclass(frozen=True, eq=False)
class Queries:
    """Query photos, one row each.

    Args:
        path: The table's file or folder.
        table: ``query_id`` (string, unique); ``image_path`` or ``image`` as for items; where
            given, ``box`` (four float32: x0, y0, x1, y1 in pixels), ``split`` (string) and
            ``timestamp``. Never the truth: other columns are dropped at the door, as they may tell it.
    """

    path: Path
    table: pa.Table

    def __len__(self) -> int:
        """The number of queries."""
        return int(self.table.num_rows)

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """(n,) the query ids, in table order."""
        ids: NDArray[np.object_] = self.table[QUERY_ID].to_numpy()
        return ids

    @cached_property
    def splits(self) -> NDArray[np.object_]:
        """(n,) the split of each query; ``train`` throughout where the table has no such column."""
        if "split" not in self.table.column_names:
            return np.full(len(self), "train", dtype=object)
        splits: NDArray[np.object_] = self.table["split"].to_numpy()
        return splits

    def pictures(self) -> Pictures:
        """All photos, in table order."""
        return pictures_of("query", self.path, self.table, QUERY_ID)

    def select(self, rows: NDArray[Any]) -> Queries:
        """Some of the queries, by row numbers (in their order) or by a boolean mask."""
        return Queries(self.path, select_rows(self.table, rows))

    def split(self, name: str) -> Queries:
        """The queries of one split; none if nothing is in it."""
        return self.select(self.splits == name)


def read_queries(path: Path) -> Queries:
    """Reads and checks the query photos; several rows of one photo (one per true item) become one.

    Args:
        path: As for :func:`~oclear.tables.items.read_items`, with a queries table.

    Raises:
        InputError: No such table.
        TableError: A table that breaks a rule of its form.
    """
    path = need_table(Path(path), "queries")
    source = read_source(path, "queries", (*QUERY_COLUMNS, ITEM_ID))
    source.require(QUERY_ID)
    columns = {QUERY_ID: id_column(source, QUERY_ID)}
    codes = codes_of(columns[QUERY_ID])
    if ITEM_ID in source.table.column_names:
        truth = codes_of(id_column(source, ITEM_ID, nullable=True))
        expected = "each pair of query_id and item_id once"
        refuse_repeats(source, QUERY_ID, pair_codes(codes, truth), expected)
    else:
        refuse_repeats(source, QUERY_ID, codes, "unique ids")
    check_pictures(source, most=1)
    for name in QUERY_COLUMNS[1:]:
        if name in source.table.column_names:
            columns[name] = source.table[name]
    if "box" in columns:
        columns["box"] = box_column(source)
    if "split" in columns:
        columns["split"] = text_column(source, "split", numbers=True)
        source.refuse_where(pc.is_null(columns["split"]), "split", expected="a split in every row")
    if "timestamp" in columns:
        columns["timestamp"] = time_column(source)
        refuse_odd_times(source, columns["timestamp"])
    for name in (IMAGE_PATH, "box", "split"):
        if name in columns:
            _refuse_differing(source, name, columns[name], codes)
    return Queries(path, select_rows(pa.table(columns), first_rows(codes)))


def _refuse_differing(
    source: Source, name: str, column: pa.ChunkedArray, codes: NDArray[np.int64]
) -> None:
    """Refuses a query whose rows differ in a column: a photo in two splits would leak its truth."""
    if first_repeat(codes) is None:
        return
    if pa.types.is_nested(column.type):
        column = pc.binary_join(pc.cast(column, pa.list_(pa.string())), "\n")
    values = codes_of(column)
    first = first_rows(codes)
    differs = np.flatnonzero(values != values[first][codes])
    if len(differs):
        row = int(differs[0])
        before = int(first[codes[row]])
        query = show(source.table[QUERY_ID][row])
        raise source.error(
            name,
            row,
            found=f"{show(source.table[name][row])} for the query {query}",
            expected=f"{show(source.table[name][before])} as in its row {before}",
        )
