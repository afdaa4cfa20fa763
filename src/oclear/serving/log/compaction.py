"""From parts to the tables that ``categorize`` reads.

exposures/part-*.parquet   what was shown; a late click or purchase is a row of its own, as the table's form has it
queries.parquet            the photos that are kept
not_this/part-*.parquet    what somebody said a photo does not show
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oclear.output import sync
from oclear.serving.log.erased import Erased
from oclear.serving.log.parts import (
    finished_parts,
    one_at_a_time,
    read_parts,
    remove_parts,
    write_part,
)
from oclear.serving.log.query_images import relative_path
from oclear.serving.log.records import Feedback, Search
from oclear.tables import write_table

EXPOSURES, NOT_THIS, QUERIES = "exposures", "not_this", "queries.parquet"
# A click whose search is in the part of another server, which runs: it waits for that part this long.
_WAIT = 7 * 86_400 * 1_000_000

_TIME = pa.timestamp("us")
EXPOSURE_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("query_id", pa.string()),
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("clicked", pa.bool_()),
        ("purchased", pa.bool_()),
        ("timestamp", _TIME),
        ("session_id", pa.string()),
        ("model_id", pa.string()),
    ]
)
QUERY_SCHEMA = pa.schema(
    [("query_id", pa.string()), ("image_path", pa.string()), ("timestamp", _TIME)]
)


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Args:
        parts: Parts taken over.
        searches: Searches in them.
        exposures: Rows written, late clicks among them.
        feedback: Clicks, purchases and "not this" among them.
        waiting: Feedback whose search is not in a finished part yet; kept.
        unknown: Feedback on what was never shown, or whose search was erased; left out.
        damaged: Lines left out: torn by a kill, or damaged on disk.
    """

    parts: int = 0
    searches: int = 0
    exposures: int = 0
    feedback: int = 0
    waiting: int = 0
    unknown: int = 0
    damaged: int = 0


class _Shown(NamedTuple):
    """One exposure, by which feedback on it is completed."""

    query_id: str
    position: int
    time: int
    session_id: str | None
    model_id: str


def compact(folder: Path) -> Compacted:
    """Takes what finished parts hold over into the tables; parts of running servers stay.

    Killed at any moment, the next call goes on: a part is removed when its rows are on disk, and rows written twice are
    one exposure by the table's form.
    """
    with one_at_a_time(folder):
        return compact_locked(folder)


def compact_locked(folder: Path) -> Compacted:
    """:func:`compact` for a caller that holds the log's lock."""
    done = Compacted()
    erased = Erased.read(folder)
    waiting: list[Feedback] = []
    photos: list[Search] = []
    groups = list(finished_parts(folder))
    for paths in groups:
        records, damaged = read_parts(paths)
        searches = [r for r in records if isinstance(r, Search) and not erased.covers(r)]
        feedback = [record for record in records if isinstance(record, Feedback)]
        shown = _shown(folder, searches, {event.request_id for event in feedback})
        known = [event for event in feedback if (event.request_id, event.item_id) in shown]
        late = [event for event in feedback if (event.request_id, event.item_id) not in shown]
        rows = _search_rows(searches) + _feedback_rows(known, shown, not_this=False)
        _write(folder / EXPOSURES, rows)
        _write(folder / NOT_THIS, _feedback_rows(known, shown, not_this=True))
        photos += [search for search in searches if search.has_image]
        still = [event for event in late if event.time > time.time_ns() // 1000 - _WAIT]
        waiting += still
        done = replace(
            done,
            parts=done.parts + len(paths),
            searches=done.searches + len(searches),
            exposures=done.exposures + len(rows),
            feedback=done.feedback + len(known),
            unknown=done.unknown + len(late) - len(still),
            damaged=done.damaged + damaged,
        )
    write_queries(folder, photos)
    if waiting:
        write_part(folder, waiting)
    for paths in groups:
        remove_parts(paths)
    return replace(done, waiting=len(waiting))


def write_queries(folder: Path, new: Iterable[Search] = ()) -> None:
    """Writes the table of photos anew: those of before and new ones, without those that are kept no longer."""
    path = folder / QUERIES
    times: dict[str, Any] = {}
    if path.is_file():
        table = pq.read_table(path, partitioning=None)
        columns = (table[name].to_pylist() for name in ("query_id", "timestamp"))
        times = dict(zip(*columns, strict=True))
    for search in new:
        times.setdefault(search.query_id, pa.scalar(search.time, _TIME).as_py())
    kept = [query for query in times if (folder / relative_path(query)).is_file()]
    if kept:
        columns_ = [kept, [relative_path(query) for query in kept], [times[q] for q in kept]]
        arrays = [pa.array(c, f.type) for c, f in zip(columns_, QUERY_SCHEMA, strict=True)]
        write_table(pa.Table.from_arrays(arrays, schema=QUERY_SCHEMA), path)
        _sync(path)
    else:
        path.unlink(missing_ok=True)


def table_parts(folder: Path) -> list[Path]:
    """The files of a table in parts, oldest first."""
    return sorted(folder.glob("part-*.parquet"))


def _search_rows(searches: list[Search]) -> list[tuple[Any, ...]]:
    """Exposures in the order of ``EXPOSURE_SCHEMA``."""
    return [
        (
            *(s.request_id, s.query_id, item, position, False, False),
            *(s.time, s.session_id, s.model_id),
        )
        for s in searches
        for position, item in enumerate(s.item_ids)
    ]


def _feedback_rows(
    events: list[Feedback], shown: dict[tuple[str, str], _Shown], *, not_this: bool
) -> list[tuple[Any, ...]]:
    """Late clicks and purchases as rows that repeat their exposure; or, likewise, what was not it.

    Who buys a thing that a search showed has chosen it there: a purchase counts as a click too.
    """
    rows = []
    for event in events:
        if (event.event == "not_this") != not_this:
            continue
        exposure = shown[event.request_id, event.item_id]
        # A click comes after what it is a click on, whatever the clock of its server says.
        moment = max(event.time, exposure.time)
        rows.append(
            (
                *(event.request_id, exposure.query_id, event.item_id, exposure.position),
                *(not not_this, event.event == "purchase"),
                *(moment, exposure.session_id, exposure.model_id),
            )
        )
    return rows


def _shown(folder: Path, searches: list[Search], wanted: set[str]) -> dict[tuple[str, str], _Shown]:
    """The exposures of the wanted requests: of these searches, and of those written before, newest first."""
    found: dict[tuple[str, str], _Shown] = {}
    missing = set(wanted)
    for search in searches:
        if search.request_id in missing:
            missing.discard(search.request_id)
            for position, item in enumerate(search.item_ids):
                found[search.request_id, item] = _Shown(
                    *(search.query_id, position, search.time, search.session_id, search.model_id)
                )
    for path in reversed(table_parts(folder / EXPOSURES)):
        if not missing:
            break
        table = pq.read_table(path, filters=pc.field("request_id").isin(list(missing)))
        table = table.set_column(6, "timestamp", table["timestamp"].cast(pa.int64()))
        for row in table.to_pylist():
            key = (row["request_id"], row["item_id"])
            exposure = _Shown(
                *(row["query_id"], row["position"], row["timestamp"]),
                *(row["session_id"], row["model_id"]),
            )
            if key not in found or exposure.time < found[key].time:
                found[key] = exposure
            missing.discard(row["request_id"])
    return found


def _write(folder: Path, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    folder.mkdir(exist_ok=True)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, EXPOSURE_SCHEMA, strict=True)]
    path = folder / f"part-{time.time_ns():020d}.parquet"
    write_table(pa.Table.from_arrays(arrays, schema=EXPOSURE_SCHEMA), path)
    _sync(path)


def _sync(path: Path) -> None:
    """Makes a file last before what it was made from is removed."""
    sync(path.parent)
    sync(path)
