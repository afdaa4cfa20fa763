"""Which items are the same product in truth. Only ``categories evaluate`` reads it; nothing that learns does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from oclear.tables.checks import codes_of, id_column, refuse_repeats
from oclear.tables.read import need_table, read_source
from oclear.tables.schema import ITEM_ID, QUERY_ID

PRODUCT_ID = "product_id"


@dataclass(frozen=True, eq=False)
class Products:
    """The true products of items.

    Args:
        path: The table's file or folder.
        table: ``item_id`` (unique) and ``product_id``, both strings without nulls.
    """

    path: Path
    table: pa.Table

    def __len__(self) -> int:
        """The number of items whose product is known."""
        return int(self.table.num_rows)


def read_products(path: Path) -> Products:
    """Reads and checks the true products of items; a null ``product_id`` is one that is not known.

    Args:
        path: A table with ``item_id`` and ``product_id``, or a folder with ``products.parquet`` (``.csv``, ``.jsonl``).

    Raises:
        InputError: No such table.
        TableError: A table that breaks a rule of its form, or knows no product at all.
    """
    path = need_table(Path(path), "products")
    source = read_source(path, "products", (ITEM_ID, PRODUCT_ID))
    if PRODUCT_ID not in source.columns and {QUERY_ID, ITEM_ID} <= set(source.columns):
        raise source.error(
            None,
            None,
            found="the true items of photos, no column 'product_id'",
            expected="item_id and product_id",
            hint="Give the true items of photos with --queries.",
        )
    source.require(ITEM_ID, PRODUCT_ID)
    items = id_column(source, ITEM_ID)
    refuse_repeats(source, ITEM_ID, codes_of(items), "unique ids: an item is one product")
    products = id_column(source, PRODUCT_ID, nullable=True)
    table = pa.table({ITEM_ID: items, PRODUCT_ID: products}).filter(pc.is_valid(products))
    if not table.num_rows:
        raise source.error(
            PRODUCT_ID, None, found="null in every row", expected="the product of an item or more"
        )
    return Products(path, table)
