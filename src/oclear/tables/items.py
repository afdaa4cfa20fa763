"""The catalogue: what a search can return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import TableError, nearest_name
from oclear.tables.checks import codes_of, id_column, refuse_repeats, text_column
from oclear.tables.pictures import Pictures, check_pictures, pictures_of
from oclear.tables.read import need_table, read_source
from oclear.tables.schema import COARSE_LABEL, ITEM_ID, ITEM_TEXTS
from oclear.tables.selection import select_rows


@dataclass(frozen=True, eq=False)
class Items:
    """The catalogue.

    Args:
        path: The table's file or folder.
        table: ``item_id`` (string, unique); ``title``, ``description``, ``coarse_label`` (string)
            when given; ``image_path`` (string or list of strings) or ``image`` ({bytes, path} or a
            list of these) as given; every other column is an attribute, as it is.
    """

    path: Path
    table: pa.Table

    def __len__(self) -> int:
        """The number of items."""
        return int(self.table.num_rows)

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """(n,) the item ids, in table order."""
        ids: NDArray[np.object_] = self.table[ITEM_ID].to_numpy()
        return ids

    def pictures(self) -> Pictures:
        """All pictures, in table order and within an item in the order given."""
        return pictures_of("document", self.path, self.table, ITEM_ID)

    def select(self, rows: NDArray[Any]) -> Items:
        """Some of the items, by row numbers (in their order) or by a boolean mask."""
        return Items(self.path, select_rows(self.table, rows))

    def texts(self, columns: Sequence[str]) -> list[str]:
        """One text an item: the named columns joined by ``". "``, without nulls and empty ones.

        Raises:
            TableError: A column that the table does not have, or that is not text, number or list of texts.
        """
        if not columns:
            return [""] * len(self)
        # An empty text leads, cut off again: Arrow leaves out the rows where all are null.
        parts = [pa.repeat("", len(self)), *(self._as_text(name) for name in columns)]
        joined = pc.binary_join_element_wise(*parts, ". ", null_handling="skip")
        texts: list[str] = pc.utf8_slice_codeunits(joined, 2).to_pylist()
        return texts

    def _as_text(self, name: str) -> pa.ChunkedArray:
        if name not in self.table.column_names:
            raise TableError(
                self.path,
                found=f"no column '{name}'",
                expected="one, as it is to be read as text",
                hint=nearest_name(name, self.table.column_names),
            )
        column = self.table[name]
        try:
            if pa.types.is_list(column.type):
                column = pc.binary_join(column, ", ")
            text = column.cast(pa.string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise TableError(
                self.path, column=name, found=f"{column.type} values", expected="text or numbers"
            ) from error
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(text), ""), None, text)


def read_items(path: Path) -> Items:
    """Reads and checks the catalogue.

    Args:
        path: A Parquet, CSV or JSON Lines file, a saved Hugging Face ``datasets`` folder, or a
            folder with an items table (:func:`~oclear.tables.read.find_table`).

    Raises:
        InputError: No such table.
        TableError: A table that breaks a rule of its form.
    """
    path = need_table(Path(path), "items")
    source = read_source(path, "items")
    source.require(ITEM_ID)
    ids = id_column(source, ITEM_ID)
    refuse_repeats(source, ITEM_ID, codes_of(ids), "unique ids")
    check_pictures(source)
    table = source.table.set_column(source.table.column_names.index(ITEM_ID), ITEM_ID, ids)
    for name in ITEM_TEXTS:
        if name in table.column_names:
            column = text_column(source, name, numbers=name == COARSE_LABEL)
            if name == COARSE_LABEL:  # a blank one is none: else items without would be a group
                blank = pc.equal(pc.utf8_trim_whitespace(column), "")
                column = pc.if_else(blank, pa.scalar(None, pa.string()), column)
            table = table.set_column(table.column_names.index(name), name, column)
    return Items(path, table.replace_schema_metadata(None))


def read_item_ids(path: Path) -> list[str]:
    """The ids of any table with an ``item_id`` column, each once, in order.

    Raises:
        InputError: No such table.
        TableError: No such column, or an id is missing.
    """
    source = read_source(need_table(Path(path), "items"), "items")
    source.require(ITEM_ID)
    return list(dict.fromkeys(id_column(source, ITEM_ID).to_pylist()))
