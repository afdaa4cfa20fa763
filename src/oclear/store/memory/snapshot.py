"""One state of an index in memory, and search in it.

Rows are only ever appended. A later state shares the arrays of an earlier one and sees more rows of them, or
has more rows marked as dead; so a search keeps the state that it began with, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from oclear.store.filters import Node
from oclear.store.hits import Hit, cosine
from oclear.store.memory.accelerator import Accelerator, nearest_among
from oclear.store.memory.columns import Columns, RowAttributes

# As many rows as pass a filter are scanned exactly; above, the lists are searched under a mask.
EXACT_ROWS = 40_000
# Of an exact scan, the rows scored again, per item wanted and at the least; and the growth where they
# were too few.
_PER_ITEM = 4
_AT_LEAST = 50
# What two ways to sum the same product may differ by.
_ROUNDING = 1e-6


class _Found(NamedTuple):
    """The row by which an item was found."""

    row: int
    score: float
    part: int


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Rows, one per picture: first those that are sealed (accelerated, if there are many), then the new ones.

    Attributes:
        vectors: ``(capacity, dim)`` float32 of length 1; rows past the end are none of ours.
        parts: ``(capacity,)`` int32.
        items: ``(capacity,)`` int64: rows of one item have one number.
        alive: ``(rows,)`` bool, false for what was deleted or replaced.
        sealed: Columns of the first rows.
        tail: Columns of the rows after them.
        accelerator: Over the sealed rows; None where they are few enough to be scanned.
    """

    vectors: npt.NDArray[np.float32]
    parts: npt.NDArray[np.int32]
    items: npt.NDArray[np.int64]
    alive: npt.NDArray[np.bool_]
    sealed: Columns
    tail: Columns
    accelerator: Accelerator | None

    def __len__(self) -> int:
        return len(self.alive)

    @cached_property
    def living(self) -> int:
        """How many rows are alive."""
        return int(self.alive.sum())

    @cached_property
    def living_items(self) -> int:
        """How many items are alive."""
        return len(np.unique(self.items[: len(self)][self.alive]))

    @cached_property
    def _living_rows(self) -> npt.NDArray[np.int64]:
        return np.flatnonzero(self.alive)

    @cached_property
    def _living_tail(self) -> npt.NDArray[np.int64]:
        return self._living_rows[np.searchsorted(self._living_rows, len(self.sealed)) :]

    @cached_property
    def _living_bits(self) -> npt.NDArray[np.uint8] | None:
        """Of the sealed rows; None where all are alive."""
        sealed = self.alive[: len(self.sealed)]
        return None if sealed.all() else np.packbits(sealed, bitorder="little")

    def search(
        self, queries: npt.NDArray[np.float32], k: int, where: Node | None
    ) -> list[list[Hit]]:
        """The k nearest items of each query (unit vectors), best first; ties in the order of item ids."""
        if where is None:
            tail, bits, count = self._living_tail, self._living_bits, len(self.sealed)
        else:
            passing = self.sealed.passing(where)
            tail = self.tail.passing(where).rows + len(self.sealed)
            tail = tail[self.alive[tail]]
            bits, count = passing.bits, passing.count
            if self._living_bits is not None:
                bits = bits & self._living_bits
        if self.accelerator is None or (where is not None and count <= EXACT_ROWS):
            rows = self._passing_rows(where, tail)
            return [self._hits(self._exact(query, k, rows)) for query in queries]
        share = max(count, 1) / len(self.sealed)
        found = self.accelerator.candidates(queries, k, bits, share)
        return [
            self._hits(self._approximate(query, k, rows[rows >= 0], tail, where))
            for query, rows in zip(queries, found, strict=True)
        ]

    def columns_of(self, row: int) -> tuple[Columns, int]:
        """The columns that hold a row, and its place in them."""
        sealed = len(self.sealed)
        return (self.sealed, row) if row < sealed else (self.tail, row - sealed)

    def item_id(self, row: int) -> str:
        """The item that a row belongs to."""
        columns, at = self.columns_of(row)
        found: str = columns.item_ids[at].as_py()
        return found

    def _passing_rows(
        self, where: Node | None, tail: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        if where is None:
            return self._living_rows
        sealed = self.sealed.passing(where).rows
        return np.concatenate([sealed[self.alive[sealed]], tail])

    def _approximate(
        self,
        query: npt.NDArray[np.float32],
        k: int,
        candidates: npt.NDArray[np.int64],
        tail: npt.NDArray[np.int64],
        where: Node | None,
    ) -> list[_Found]:
        if len(tail):
            depth = max(_AT_LEAST, _PER_ITEM * k)
            candidates = np.concatenate([candidates, self._top(query, tail, depth)])
        found = self._best(query, candidates, k)[0]
        if len(found) < k:
            # The lists held too few items: many pictures of one, or a filter that keeps what is far away.
            return self._exact(query, k, self._passing_rows(where, tail))
        return found

    def _exact(
        self, query: npt.NDArray[np.float32], k: int, rows: npt.NDArray[np.int64]
    ) -> list[_Found]:
        depth = max(_AT_LEAST, _PER_ITEM * k)
        while True:
            candidates = self._top(query, rows, depth)
            found, worst = self._best(query, candidates, k)
            if len(candidates) == len(rows):
                return found
            # The last candidate stands for any number of rows at its distance.
            if len(found) == k and found[-1].score > worst + _ROUNDING:
                return found
            depth *= _PER_ITEM

    def _top(
        self, query: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], count: int
    ) -> npt.NDArray[np.int64]:
        """The nearest of these rows, in no order."""
        if len(rows) <= count:
            return rows
        if len(rows) < len(self) // 2:
            return nearest_among(query, self.vectors, rows, count)[0]
        first, last = int(rows[0]), int(rows[-1]) + 1
        scores = (self.vectors[first:last] @ query)[rows - first]
        return rows[np.argpartition(scores, len(rows) - count)[-count:]]

    def _best(
        self, query: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], k: int
    ) -> tuple[list[_Found], float]:
        """The best row of each of the k best items, and the worst score of all rows."""
        if not len(rows):
            return [], -1.0
        ranked, scores = nearest_among(query, self.vectors, rows, len(rows))
        entries = zip(
            scores.tolist(),
            self.parts[ranked].tolist(),
            ranked.tolist(),
            self.items[ranked].tolist(),
            strict=True,
        )
        best: dict[int, _Found] = {}
        last = -1.0
        for score, part, row, item in entries:
            if len(best) >= k and score < last:
                break
            # Of rows with one score the first part counts; of items, see below.
            if item not in best or (score == best[item].score and part < best[item].part):
                best[item] = _Found(row, score, part)
                last = score
        found = list(best.values())
        if len({entry.score for entry in found}) < len(found):
            found.sort(key=lambda entry: (-entry.score, self.item_id(entry.row)))
        return found[:k], float(scores[-1])

    def _hits(self, found: Sequence[_Found]) -> list[Hit]:
        hits = []
        for row, score, part in found:
            columns, at = self.columns_of(row)
            item_id = columns.item_ids[at].as_py()
            hits.append(Hit(item_id, cosine(score), part, RowAttributes(columns, at)))
        return hits
