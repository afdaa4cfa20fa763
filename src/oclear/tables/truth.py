"""Which items a photo really shows. Only evaluation, and training with ``--labels truth``, read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import InputError, TableError
from oclear.tables.checks import codes_of, id_column, index_of, pair_codes, refuse_repeats
from oclear.tables.items import Items
from oclear.tables.queries import Queries
from oclear.tables.read import find_table, need_table, read_source
from oclear.tables.schema import ITEM_ID, QUERY_ID, TRUTH_COLUMNS


@dataclass(frozen=True, eq=False)
class Truth:
    """The true items of queries.

    Args:
        path: The table's file or folder.
        table: ``query_id`` and ``item_id``, both strings, without nulls, each pair once.
    """

    path: Path
    table: pa.Table

    def __len__(self) -> int:
        """The number of pairs."""
        return int(self.table.num_rows)

    def pairs_for(
        self, queries: Queries, items: Items
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The true items of each query, as rows of ``items``.

        Returns:
            ``indptr`` (queries + 1,) and ``item_rows``: query i has
            ``item_rows[indptr[i]:indptr[i + 1]]``, ascending, none where its truth is not known.

        Raises:
            TableError: The truth of one of the queries names an item that ``items`` lacks.
        """
        query_rows = index_of(self.table[QUERY_ID], queries.table[QUERY_ID])
        item_rows = index_of(self.table[ITEM_ID], items.table[ITEM_ID])
        asked = query_rows >= 0
        unknown = np.flatnonzero(asked & (item_rows < 0))
        if len(unknown):
            row = self.table.slice(int(unknown[0]), 1).to_pylist()[0]
            raise TableError(
                self.path,
                column=ITEM_ID,
                found=f"'{row[ITEM_ID]}' (truth of the query '{row[QUERY_ID]}')",
                expected=f"an item_id of {items.path}",
            )
        query_rows, item_rows = query_rows[asked], item_rows[asked]
        order = np.lexsort((item_rows, query_rows))
        counts = np.bincount(query_rows, minlength=len(queries))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), item_rows[order]


def read_truth(path: Path) -> Truth | None:
    """Reads and checks the truth.

    Args:
        path: A queries table with a column ``item_id``; a table of ``query_id`` and ``item_id``
            alone; a folder with either. A queries table without ``item_id`` is looked beside for
            a truth table.

    Returns:
        None where nothing tells the truth.

    Raises:
        InputError: No such table.
        TableError: A table that breaks a rule of its form.
    """
    path = Path(path)
    queries = find_table(path, "queries")
    truth = _read(queries, "queries") if queries is not None else None
    if truth is not None:
        return truth
    folder = path if path.is_dir() else path.parent
    beside = find_table(folder, "truth")
    if beside is not None and beside not in (queries, folder):
        return _read(beside, "truth")
    if queries is None:
        need_table(path, "queries")
    return None


def need_truth(path: Path, purpose: str) -> Truth:
    """The truth, for what cannot do without.

    Args:
        path: As of :func:`read_truth`.
        purpose: What it is needed for, a sentence: the user reads it where nothing tells the truth.

    Raises:
        InputError: Nothing tells the truth, or there is no such table.
        TableError: A table that breaks a rule of its form.
    """
    truth = read_truth(path)
    if truth is None:
        raise InputError(
            f"{path}: the queries have no column 'item_id' with values, and there is no table 'truth' beside them",
            purpose,
        )
    return truth


def _read(path: Path, name: str) -> Truth | None:
    source = read_source(path, name, TRUTH_COLUMNS)
    if name == "truth":
        source.require(*TRUTH_COLUMNS)
    source.require(QUERY_ID)
    if ITEM_ID not in source.columns:
        return None
    queries = id_column(source, QUERY_ID)
    items = id_column(source, ITEM_ID, nullable=True)
    codes = pair_codes(codes_of(queries), codes_of(items))
    refuse_repeats(source, QUERY_ID, codes, "each pair of query_id and item_id once")
    table = pa.table({QUERY_ID: queries, ITEM_ID: items}).filter(pc.is_valid(items))
    return Truth(path, table) if table.num_rows else None
