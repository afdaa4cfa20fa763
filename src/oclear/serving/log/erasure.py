"""Erasing what a session left behind: exposures, clicks and photos."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oclear.serving.log.compaction import (
    EXPOSURES,
    NOT_THIS,
    compact_locked,
    table_parts,
    write_queries,
)
from oclear.serving.log.erased import note_erased
from oclear.serving.log.parts import all_parts, one_at_a_time, read_parts
from oclear.serving.log.query_images import QueryImages
from oclear.serving.log.records import Search
from oclear.tables import write_table


@dataclass(frozen=True)
class Erasure:
    """What was erased.

    Args:
        rows: Exposures and clicks in the tables.
        images: Photos that no other session searched with.
        in_running_parts: Searches in the open parts of running servers; they go when those are compacted.
    """

    rows: int
    images: int
    in_running_parts: int


def erase_session(folder: Path, session_id: str) -> Erasure:
    """Erases a session from the tables and the photos; killed half-way, it can be called again.

    What a running server holds in its open part is passed over by the next :func:`compact`: it never reaches a table.
    """
    with one_at_a_time(folder):
        # The clock of a server may be ahead of ours.
        times = [s.time for s in _searches(folder) if s.session_id == session_id]
        note_erased(folder, session_id, max([time.time_ns() // 1000, *times]))
        # Photos first: as long as a row is there, a killed erasure can tell what was left to do.
        images = QueryImages(folder).remove(_photos_of(folder, session_id))
        compact_locked(folder)
        rows = 0
        for path in [*table_parts(folder / EXPOSURES), *table_parts(folder / NOT_THIS)]:
            table = pq.read_table(path, partitioning=None)
            rows += _keep(path, table, pc.invert(_is_of(table, session_id)))
        write_queries(folder)
        left = [s for s in _searches(folder) if s.session_id == session_id]
    return Erasure(rows, images, len(left))


def _photos_of(folder: Path, session_id: str) -> set[str]:
    """The query ids that this session alone searched with."""
    mine, others = set[str](), set[str]()
    for search in _searches(folder):
        (mine if search.session_id == session_id else others).add(search.query_id)
    for path in table_parts(folder / EXPOSURES):
        table = pq.read_table(path, columns=["query_id", "session_id"], partitioning=None)
        is_mine = _is_of(table, session_id)
        mine.update(pc.unique(table["query_id"].filter(is_mine)).to_pylist())
        others.update(pc.unique(table["query_id"].filter(pc.invert(is_mine))).to_pylist())
    return mine - others


def _searches(folder: Path) -> list[Search]:
    """Those in parts, finished or not."""
    records = read_parts(all_parts(folder)).records
    return [record for record in records if isinstance(record, Search)]


def _is_of(table: pa.Table, session_id: str) -> pa.ChunkedArray:
    return pc.fill_null(pc.equal(table["session_id"], session_id), False)


def _keep(path: Path, table: pa.Table, mask: pa.ChunkedArray) -> int:
    """Keeps some rows of a table's part; returns how many went."""
    kept = table.filter(mask)
    if kept.num_rows == table.num_rows:
        return 0
    if kept.num_rows:
        write_table(kept, path)
    else:
        path.unlink()
    return int(table.num_rows - kept.num_rows)
