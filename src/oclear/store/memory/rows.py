"""How a snapshot comes from a store, and from the one before it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oclear.store.columns import ITEM_ID, PART, VECTOR
from oclear.store.contract import StoredItem
from oclear.store.index import Index
from oclear.store.memory.accelerator import Accelerator
from oclear.store.memory.columns import Columns, RowAttributes, compact
from oclear.store.memory.snapshot import Snapshot

# Up to here all rows are scanned: about a millisecond at 256 numbers.
EXACT_UP_TO = 20_000
_READ_AT_ONCE = 50_000
# Room for new rows; memory that is not written to costs nothing.
_ROOM = 1.5


class Rows:
    """A snapshot, and where in it each item lies. Changed by one thread at a time; snapshots are read by any."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._first_ids: Any = snapshot.sealed.item_ids
        self._first_order = pc.sort_indices(self._first_ids).to_numpy()
        self._later: dict[str, list[int]] = {}
        self._next_item = int(snapshot.items[: len(snapshot)].max(initial=-1)) + 1

    @classmethod
    def load(cls, store: Index) -> Rows:
        """All rows of a store; twice their attributes and once their vectors pass through memory."""
        total = store.count_vectors()
        vectors = np.empty((_capacity(total), store.dim), np.float32)
        parts = np.empty(len(vectors), np.int32)
        columns = []
        at = 0
        for batch in store.batches(_READ_AT_ONCE):
            end = at + len(batch)
            vectors[at:end] = _matrix(batch.column(VECTOR), store.dim)
            parts[at:end] = batch.column(PART).to_numpy()
            # Copied: a column that came with LanceDB's vectors keeps those in memory as well.
            kept = batch.drop_columns([PART, VECTOR])
            columns.append(kept.take(pa.array(np.arange(len(kept)))))
            at = end
        others = [field for field in store.schema if field.name not in (PART, VECTOR)]
        table = pa.Table.from_batches(columns, pa.schema(others))
        ids = table[ITEM_ID].combine_chunks()
        items = np.empty(len(vectors), np.int64)
        items[:total] = ids.dictionary_encode().indices.to_numpy()
        accelerator = Accelerator.build(vectors[:total]) if total > EXACT_UP_TO else None
        sealed, tail = Columns(compact(table)), Columns(table.slice(0, 0))
        alive = np.ones(total, bool)
        return cls(Snapshot(vectors, parts, items, alive, sealed, tail, accelerator))

    def find(self, item_id: str) -> list[int]:
        """The living rows of an item, in the order of its parts."""
        order = self._first_order
        at = bisect_left(
            range(len(order)), item_id, key=lambda i: self._first_ids[order[i]].as_py()
        )
        rows = []
        while at < len(order) and self._first_ids[order[at]].as_py() == item_id:
            rows.append(int(order[at]))
            at += 1
        snapshot = self.snapshot
        rows += self._later.get(item_id, [])
        living = [row for row in rows if row < len(snapshot) and snapshot.alive[row]]
        return sorted(living, key=lambda row: int(snapshot.parts[row]))

    def get(self, item_ids: Iterable[str]) -> dict[str, StoredItem]:
        """The living items among these, by id."""
        found = {}
        for item_id in dict.fromkeys(item_ids):
            if rows := self.find(item_id):
                snapshot = self.snapshot
                columns, at = snapshot.columns_of(rows[0])
                found[item_id] = StoredItem(
                    item_id,
                    tuple(int(snapshot.parts[row]) for row in rows),
                    columns.hashes[at].as_py(),
                    RowAttributes(columns, at),
                )
        return found

    def remove(self, item_ids: Iterable[str]) -> None:
        """Mark all rows of these items as dead."""
        dead = [row for item in item_ids for row in self.find(item)]
        if dead:
            alive = self.snapshot.alive.copy()
            alive[dead] = False
            self.snapshot = replace(self.snapshot, alive=alive)

    def keep_only(self, item_ids: pa.ChunkedArray) -> None:
        """Mark all rows as dead whose item is not among these."""
        snapshot = self.snapshot
        kept = [
            pc.is_in(columns.item_ids, value_set=item_ids.combine_chunks()).to_numpy(
                zero_copy_only=False
            )
            for columns in (snapshot.sealed, snapshot.tail)
        ]
        self.snapshot = replace(snapshot, alive=snapshot.alive & np.concatenate(kept))

    def put(self, rows: pa.Table) -> None:
        """Take in items with all their rows; what was there of them is dead then."""
        self.remove(dict.fromkeys(rows[ITEM_ID].to_pylist()))
        before = self.snapshot
        start, end = len(before), len(before) + len(rows)
        vectors, parts, items = (
            _with_room(array, start, end) for array in (before.vectors, before.parts, before.items)
        )
        vectors[start:end] = _matrix(rows[VECTOR].combine_chunks(), vectors.shape[1])
        parts[start:end] = rows[PART].to_numpy()
        ids = rows[ITEM_ID].combine_chunks().dictionary_encode()
        items[start:end] = ids.indices.to_numpy() + self._next_item
        self._next_item += len(ids.dictionary)
        for row, item in enumerate(rows[ITEM_ID].to_pylist(), start):
            self._later.setdefault(item, []).append(row)
        new = rows.drop_columns([PART, VECTOR])
        # One piece, however many small writes made it.
        tail = Columns(pa.concat_tables([before.tail.table, new]).combine_chunks())
        alive = np.append(before.alive, np.ones(len(rows), bool))
        self.snapshot = replace(
            before, vectors=vectors, parts=parts, items=items, alive=alive, tail=tail
        )

    def seal(self, until: Snapshot, accelerator: Accelerator | None) -> None:
        """Move the tail of an earlier snapshot to the sealed rows, which this accelerator covers."""
        now = self.snapshot
        new = now.tail.table.slice(len(until.tail))
        self.snapshot = replace(
            now,
            sealed=until.sealed.followed_by(until.tail),
            tail=Columns(new),
            accelerator=accelerator,
        )


def _matrix(vectors: Any, dim: int) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = vectors.flatten().to_numpy()
    return found.reshape(-1, dim)


def _capacity(rows: int) -> int:
    return int(rows * _ROOM) + _READ_AT_ONCE


def _with_room(array: Any, used: int, needed: int) -> Any:
    """The same array where it has room, or a larger copy. What is past ``used`` nobody reads yet."""
    if needed <= len(array):
        return array
    larger = np.empty((_capacity(needed), *array.shape[1:]), array.dtype)
    larger[:used] = array[:used]
    return larger
