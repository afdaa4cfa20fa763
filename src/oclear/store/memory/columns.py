"""What rows in memory say beside their vectors, and which of them pass a filter."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oclear.store.columns import CONTENT_HASH, ITEM_ID, attribute_name
from oclear.store.filters import Node, mask_of

# Texts with few different values are kept as numbers into a list of them.
_FEW_VALUES = 65_536
_REMEMBERED_FILTERS = 64
# Of a filter that keeps more rows than this, only the bits are kept.
_FEW_ROWS = 65_536


@dataclass(frozen=True)
class Passing:
    """Which rows a filter keeps.

    Attributes:
        count: How many.
        bits: One bit per row, little end first.
        few: Their numbers, ``int64``, rising, where they are few.
    """

    count: int
    bits: npt.NDArray[np.uint8]
    few: npt.NDArray[np.int64] | None

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Their numbers, rising."""
        if self.few is not None:
            return self.few
        return np.flatnonzero(np.unpackbits(self.bits, bitorder="little"))


class Columns:
    """Item ids, content hashes and attributes of rows that never change.

    Args:
        table: The store's columns under the store's names, without part and vector; text also
            dictionary-encoded.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        # One piece: each hit's id is looked up, and a column of many pieces takes twice as long.
        self.item_ids: Any = table[ITEM_ID].combine_chunks()
        self.hashes: Any = table[CONTENT_HASH]
        self.attributes: dict[str, Any] = {
            attribute_name(name): table[name]
            for name in table.column_names
            if name not in (ITEM_ID, CONTENT_HASH)
        }
        self._remembered: OrderedDict[Node, Passing] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.table)

    def passing(self, where: Node) -> Passing:
        """Which rows pass a filter; the last answers are remembered.

        Raises:
            InputError: The filter's arithmetic overflows.
        """
        with self._lock:
            if (known := self._remembered.get(where)) is not None:
                self._remembered.move_to_end(where)
                return known
        mask = mask_of(where, {ITEM_ID: self.item_ids, **self.attributes}, len(self))
        rows = pc.indices_nonzero(mask).to_numpy().astype(np.int64)
        kept = np.zeros(len(self), bool)
        kept[rows] = True
        few = rows if len(rows) <= _FEW_ROWS else None
        found = Passing(len(rows), np.packbits(kept, bitorder="little"), few)
        with self._lock:
            self._remembered[where] = found
            if len(self._remembered) > _REMEMBERED_FILTERS:
                self._remembered.popitem(last=False)
        return found

    def followed_by(self, others: Columns) -> Columns:
        """These rows and then those; nothing is copied where the text is encoded alike."""
        later = others.table
        for at, (mine, name) in enumerate(
            zip(self.table.columns, self.table.column_names, strict=True)
        ):
            if mine.type != later[name].type:
                later = later.set_column(at, name, later[name].dictionary_encode())
        return Columns(pa.concat_tables([self.table, later]))


class RowAttributes(Mapping[str, Any]):
    """One row's attributes, made into Python values when they are asked for.

    Ten hits of five columns cost 75 µs when they are made at once, half a search.
    """

    def __init__(self, columns: Columns, row: int) -> None:
        self._columns, self._row = columns, row

    def __getitem__(self, name: str) -> Any:
        return self._columns.attributes[name][self._row].as_py()

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.attributes)

    def __len__(self) -> int:
        return len(self._columns.attributes)

    def __repr__(self) -> str:
        return repr(dict(self))


def compact(table: pa.Table) -> pa.Table:
    """The table with those texts that have few different values as dictionaries."""
    for at, name in enumerate(table.column_names):
        column = table[name]
        if pa.types.is_string(column.type) and name not in (ITEM_ID, CONTENT_HASH):
            distinct = pc.count_distinct(column).as_py()
            if distinct <= min(_FEW_VALUES, len(column) // 4):
                table = table.set_column(at, name, column.dictionary_encode())
    return table
