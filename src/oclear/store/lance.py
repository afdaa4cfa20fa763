"""What of LanceDB the index uses, under plain names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from oclear.store.columns import ITEM_ID

# When a row was last written, kept by LanceDB where a table has stable row ids.
CHANGED_AT = "_row_last_updated_at_version"
ROW_ID = "_rowid"


class Layout(NamedTuple):
    """How a table lies on disk.

    Attributes:
        folder: Where its files are.
        files: Data files; many small ones make reading slow.
        versions: States that are kept, the present one among them.
    """

    folder: Path
    files: int
    versions: int


def connect(folder: Path) -> Any:
    """The tables of a folder."""
    # LanceDB tells of every table it makes, as a warning; and it takes a second to import.
    os.environ.setdefault("LANCEDB_LOG", "error")
    import lancedb

    return lancedb.connect(str(folder))


def create_table(folder: Path, name: str, schema: pa.Schema) -> Any:
    """An empty table whose rows know when they changed; one of the same name is replaced."""
    return connect(folder).create_table(
        name,
        schema=schema,
        mode="overwrite",
        storage_options={"new_table_enable_stable_row_ids": "true"},
    )


def layout(folder: Path, table: Any) -> Layout:
    """How a table of this folder lies on disk."""
    files = int(table.stats()["fragment_stats"]["num_fragments"])
    return Layout(folder / f"{table.name}.lance", files, len(table.list_versions()))


def scan(table: Any, columns: list[str], where: str | None = None) -> pa.Table:
    """All rows, or those that a condition in SQL is true of."""
    found = table.search().select(columns)
    return (found if where is None else found.where(where)).to_arrow()


def among(item_ids: Sequence[str]) -> str:
    """The condition that an item is one of these. Quotes double; nothing else is special in SQL."""
    quoted = ", ".join("'" + item.replace("'", "''") + "'" for item in item_ids)
    return f"{ITEM_ID} IN ({quoted})"


def values(table: pa.Table, column: str) -> list[Any]:
    """A column as Python values."""
    found: list[Any] = table[column].to_pylist()
    return found
