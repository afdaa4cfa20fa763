"""Key columns: what items say of themselves, word for word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import TableError, nearest_name
from oclear.governance.evidence.edges import Edges, chain_edges
from oclear.tables import Items

KNOWN_KEYS = ("barcode", "gtin", "ean", "upc", "isbn", "mpn")
# What systems write where there is no value; as an identity it would merge all that lack one.
_SAYS_NOTHING = ("", "-", "--", "0", "n/a", "na", "nan", "nil", "none", "null", "unknown", "?")
# So many items of one value are not offers of one product, where they are most of those that have a value.
_MANY_OF_ONE = 20
KNOWN_FORBIDS = (*KNOWN_KEYS, "top_label")


def resolve_columns(
    items: Items, configured: tuple[str, ...] | None, known: tuple[str, ...]
) -> tuple[str, ...]:
    """The configured columns, or where there is no configuration those of the known names that the table has.

    Raises:
        TableError: A configured column is missing.
    """
    names = items.table.column_names
    if configured is None:
        return tuple(name for name in known if name in names)
    for name in configured:
        if name not in names:
            raise TableError(
                items.path,
                column=name,
                found="no such column",
                expected="a column that is configured as evidence",
                hint=nearest_name(name, names),
            )
    return configured


def codes_of(items: Items, column: str) -> NDArray[np.int64]:
    """(items,) the value of a column as a number, -1 where it is null, NaN or blank; ignores case and outer spaces.

    Raises:
        TableError: A column of lists, structures or bytes.
    """
    values = items.table[column]
    try:
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        text = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string())))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(
            items.path,
            column=column,
            found=f"{values.type} values",
            expected="one text or number a row to compare items by",
        ) from error
    text = pc.if_else(pc.is_in(text, pa.array(_SAYS_NOTHING)), None, text)
    encoded = text.combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = np.asarray(pc.fill_null(encoded.indices, -1), np.int64)
    return codes


def key_edges(items: Items, column: str, forbidden: Sequence[NDArray[np.int64]] = ()) -> Edges:
    """Ties items with the same value of an identity column.

    Args:
        items: The catalogue.
        column: The column.
        forbidden: See :func:`~oclear.governance.evidence.chain_edges`.

    Raises:
        TableError: The column has one single value, or one in more than half (and more than 20) of the rows that have
            one: it would merge much of the catalogue into one ID.
    """
    codes = codes_of(items, column)
    _refuse_constant(items, column, codes)
    return chain_edges("identity", codes, f"same {column}", forbidden)


def _refuse_constant(items: Items, column: str, codes: NDArray[np.int64]) -> None:
    rows = np.flatnonzero(codes >= 0)
    counts = np.bincount(codes[rows])
    most = int(counts.max(initial=0))
    constant = most == len(rows) > 2
    if not constant and not (most > _MANY_OF_ONE and 2 * most > len(rows)):
        return
    row = int(rows[codes[rows] == counts.argmax()][0])
    share = f"all {len(rows):,}" if constant else f"{most:,} of the {len(rows):,}"
    raise TableError(
        items.path,
        column=column,
        row=row,
        found=f"the same value {items.table[column][row].as_py()!r} in {share} rows that have one",
        expected="values that tell products apart, as it is used as identity",
        hint="It would merge them into one ID: leave the column out of governance.identity_columns, "
        "or empty the cells with this value.",
    )
