"""An index folder held in memory for searching; the store on disk stays the truth.

Nothing of it is saved: it is built when it is opened. A write goes to the store first and is searchable here
when it returns; what other processes wrote comes with :meth:`MemoryIndex.refresh`. New rows lie in a small
tail that every search scans exactly; a thread in the background moves them into the accelerated part.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oclear.store.columns import ITEM_ID
from oclear.store.contract import Counts, StoredItem, StoredVectors
from oclear.store.filters import Node, parse_filter
from oclear.store.hits import Hit
from oclear.store.index import Index
from oclear.store.memory.rows import EXACT_UP_TO, Rows
from oclear.store.rows import unit_vectors

# New rows that every search scans: a millisecond at 256 numbers.
_TAIL_ROWS = 10_000
# When the lists are learned anew: that many times the rows they were learned from, or this share dead.
_GROWTH = 2.0
_DEAD_SHARE = 0.3
# Commits after which the files on disk are joined.
_COMMITS = 500
_REMEMBERED_FILTERS = 1024


class MemoryIndex:
    """:class:`~oclear.store.contract.DocumentStore` in memory, over an index folder.

    Needs the vectors once (1 GB for a million of 256 numbers), a quarter byte and more per number for the
    lists, and the attributes. Reading is safe from any number of threads, also while one writes.

    Args:
        store: The index folder; this object alone uses it from now on.
    """

    def __init__(self, store: Index) -> None:
        self._store = store
        self._lock = threading.RLock()
        self._worker = ThreadPoolExecutor(1, "memory-index")
        self._work: Future[None] | None = None
        self._commits = 0
        # Asking the store takes milliseconds, and a table's columns never change.
        self._attributes = store.attributes()
        self._parsed = lru_cache(_REMEMBERED_FILTERS)(self._parse)
        store.refresh()
        self._version = store.version
        self._rows = Rows.load(store)

    @property
    def model_id(self) -> str:
        """Hash of the weights and the preprocessing that made the vectors."""
        return self._store.model_id

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._store.dim

    @property
    def table(self) -> str:
        """Name of the table that holds the vectors."""
        return self._store.table

    @property
    def version(self) -> int:
        """Number of the last change that searches see."""
        return self._version

    @property
    def is_exact(self) -> bool:
        """Whether searches without a filter are exact: there are few enough rows."""
        return self._rows.snapshot.accelerator is None

    def attributes(self) -> dict[str, pa.DataType]:
        """The attributes' names as the user has them, and their types."""
        return dict(self._attributes)

    def upsert(
        self,
        items: pa.Table,
        *,
        item_row: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int32],
        vectors: npt.NDArray[np.float32],
        content_hashes: Sequence[str],
    ) -> None:
        """Add items or replace them; see ``DocumentStore.upsert``."""
        with self._lock:
            self._store.upsert(
                items,
                item_row=item_row,
                parts=parts,
                vectors=vectors,
                content_hashes=content_hashes,
            )
            self._catch_up(items[ITEM_ID].to_pylist())

    def update_attributes(self, items: pa.Table) -> None:
        """Set attributes, leaving vectors as they are; see ``DocumentStore.update_attributes``."""
        with self._lock:
            self._store.update_attributes(items)
            self._catch_up([])

    def delete(self, item_ids: Iterable[str]) -> int:
        """Remove items with all their parts; returns how many items were removed."""
        wanted = list(item_ids)
        with self._lock:
            removed = self._store.delete(wanted)
            self._catch_up(wanted)
        return removed

    def search(
        self, vectors: npt.NDArray[np.float32], k: int, where: str | None = None
    ) -> list[list[Hit]]:
        """The k nearest items of each query by cosine; see ``DocumentStore.search``.

        Exact up to 20,000 rows, and where a filter keeps at most 40,000; else the lists find nearly all.
        """
        if k < 1:
            raise ValueError(f"k is {k}, expected at least 1")
        queries = unit_vectors(vectors, self.dim)
        condition = None if where is None else self._parsed(where)
        return self._rows.snapshot.search(queries, k, condition)

    def search_exactly(
        self, vectors: npt.NDArray[np.float32], k: int, where: str | None = None
    ) -> list[list[Hit]]:
        """The same, by the store on disk: slow, to check against."""
        return self._store.search(vectors, k, where)

    def get(self, item_ids: Iterable[str]) -> dict[str, StoredItem]:
        """These items as they are stored, by id; those that are not there are left out."""
        return self._rows.get(item_ids)

    def items(self) -> pa.Table:
        """``item_id`` and the attributes, one row per item, in the order of item ids; from disk."""
        return self._store.items()

    def vectors(self) -> StoredVectors:
        """All vectors; from disk."""
        return self._store.vectors()

    def content_hashes(self) -> dict[str, str]:
        """The content hash of every item, by item id; from disk."""
        return self._store.content_hashes()

    def count(self) -> Counts:
        """How many items and vectors searches see."""
        snapshot = self._rows.snapshot
        return Counts(snapshot.living_items, snapshot.living)

    def count_vectors(self) -> int:
        """How many vectors searches see."""
        return self._rows.snapshot.living

    def refresh(self) -> bool:
        """See what other writers committed; whether there was any."""
        with self._lock:
            self._store.refresh()
            return self._catch_up([])

    def optimize(self) -> None:
        """Tidy up the store on disk; changes no answer."""
        with self._lock:
            self._store.optimize()
            self._catch_up([])

    def settle(self) -> None:
        """Wait for the work in the background."""
        if (work := self._work) is not None:
            work.result()

    def close(self) -> None:
        """End the work in the background; searches still work."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _parse(self, where: str) -> Node:
        return parse_filter(where, {ITEM_ID: pa.string(), **self._attributes})

    def _catch_up(self, touched: Iterable[str]) -> bool:
        """Bring memory to the store's version; ``touched`` items are known to have lost their rows."""
        seen, self._version = self._version, self._store.version
        if seen == self._version:
            return False
        changed = self._store.changed_since(seen)
        if changed is None:
            self._rows = Rows.load(self._store)
            return True
        rows = self._rows
        rows.remove(touched)
        if len(changed):
            rows.put(changed)
        if rows.snapshot.living != self._store.count_vectors():
            # Another writer deleted items: only all ids together tell which.
            rows.keep_only(self._store.item_ids())
        self._commits += self._version - seen
        if self._work is None or self._work.done():
            if len(rows.snapshot.tail) > _TAIL_ROWS:
                self._work = self._worker.submit(self._move_tail)
            elif self._commits > _COMMITS:
                self._commits = 0
                self._work = self._worker.submit(self._join_files)
        return True

    def _join_files(self) -> None:
        """Tidy up the folder, which each small write leaves a file in, without keeping writers here waiting."""
        Index.open(self._store.folder, self.model_id).optimize()

    def _move_tail(self) -> None:
        """Move the tail into the lists, or build everything anew where the lists no longer fit."""
        rows, then = self._rows, self._rows.snapshot
        before = then.accelerator
        total = len(then)
        if total - then.living > _DEAD_SHARE * total or (
            total > EXACT_UP_TO if before is None else total > _GROWTH * before.trained_on
        ):
            self._build_anew()
            return
        accelerator = before and before.extended(then.vectors[:total])
        with self._lock:
            if self._rows is rows:
                rows.seal(then, accelerator)

    def _build_anew(self) -> None:
        fresh = Index.open(self._store.folder, self.model_id)
        version, rows = fresh.version, Rows.load(fresh)
        with self._lock:
            self._rows, self._version = rows, version
            self._catch_up([])
