"""Checks of columns: each returns the column in its one type, or raises a ``TableError`` for a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.tables.schema import plain_type
from oclear.tables.source import Source, show


def text_column(source: Source, name: str, *, numbers: bool = False) -> pa.ChunkedArray:
    """A string column, nulls kept.

    Args:
        source: The table.
        name: The column.
        numbers: Whether whole numbers become strings, as for identifiers and labels.
    """
    column = source.table[name]
    kind = plain_type(column.type)
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if numbers and pa.types.is_integer(kind):
        return column.cast(pa.string())
    hint = None
    if numbers and pa.types.is_floating(kind):
        hint = "Whole numbers with gaps become floats in pandas: write them as text."
    value = column.drop_null()
    found = f"{column.type} values" + (f" such as {show(value[0])}" if len(value) else "")
    raise source.error(name, None, found=found, expected="text", hint=hint)


def id_column(source: Source, name: str, *, nullable: bool = False) -> pa.ChunkedArray:
    """An identifier as string: never empty, and never null unless ``nullable``."""
    column = text_column(source, name, numbers=True)
    if not nullable:
        source.refuse_where(pc.is_null(column), name, expected="an id in every row")
    source.refuse_where(pc.equal(column, ""), name, expected="an id of at least one character")
    return column


def whole_column(source: Source, name: str) -> pa.ChunkedArray:
    """Whole numbers from 0 as int32, never null."""
    column = source.table[name]
    expected = "a whole number from 0"
    source.refuse_where(pc.is_null(column), name, expected=expected)
    try:
        if pa.types.is_boolean(column.type):
            raise pa.ArrowInvalid
        numbers = column.cast(pa.int64())
    except pa.ArrowException:
        numbers = _floats(source, name, expected)
        source.refuse_where(pc.not_equal(numbers, pc.floor(numbers)), name, expected=expected)
    source.refuse_where(pc.less(numbers, 0), name, expected=expected)
    source.refuse_where(pc.greater(numbers, 2**31 - 1), name, expected="a number below 2**31")
    return numbers.cast(pa.int32())


def share_column(source: Source, name: str) -> pa.ChunkedArray:
    """Probabilities in (0, 1] as float64, nulls kept."""
    expected = "a probability above 0 and at most 1"
    numbers = _floats(source, name, expected)
    inside = pc.and_(pc.greater(numbers, 0), pc.less_equal(numbers, 1))  # NaN is outside
    source.refuse_where(pc.invert(inside), name, expected=expected)
    return numbers


def flag_column(source: Source, name: str, *, nullable: bool = False) -> pa.ChunkedArray:
    """A boolean column; 0 and 1 count, in any number type or as text, as do true and false."""
    column = source.table[name]
    expected = "true or false (or 1 or 0)"
    if not nullable:
        source.refuse_where(pc.is_null(column), name, expected=expected)
    kind = plain_type(column.type)
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return column.cast(pa.bool_())
    if pa.types.is_string(kind):
        column = pc.utf8_lower(column.cast(pa.string()))
        true, false = pa.array(["1", "1.0", "true"]), pa.array(["0", "0.0", "false"])
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        true, false = pa.array([1], kind), pa.array([0], kind)
    else:
        raise source.error(name, None, found=f"{kind} values", expected=expected)
    yes = pc.is_in(column, value_set=true)
    known = pc.or_(yes, pc.or_(pc.is_in(column, value_set=false), pc.is_null(column)))
    source.refuse_where(pc.invert(known), name, expected=expected)
    return pc.if_else(pc.is_null(column), pa.scalar(None, pa.bool_()), yes)


def known_rows(
    source: Source, name: str, ids: pa.ChunkedArray, known: pa.ChunkedArray, where: str
) -> NDArray[np.bool_]:
    """(rows,) which of ``ids`` are among ``known``; refuses the first that is not, where those are more than half.

    Args:
        source: The table.
        name: The column of ``ids``.
        ids: Identifiers, without nulls.
        known: Those of the other table.
        where: The other table, for the message.
    """
    found = pc.is_in(ids, value_set=known.combine_chunks())
    mask = np.asarray(found.to_numpy(), bool)
    unknown = len(mask) - int(mask.sum())
    if 2 * unknown > len(mask):
        row = int(np.flatnonzero(~mask)[0])
        such = f", such as {show(known[0])}" if len(known) else ""
        raise source.error(
            name,
            row,
            found=f"{show(source.table[name][row])} (unknown, as in {unknown:,} of {len(mask):,} rows)",
            expected=f"an id of {where}{such}",
            hint="A few unknown ids are left out and counted; so many come from other tables or are written otherwise.",
        )
    return mask


def codes_of(column: pa.ChunkedArray | pa.Array) -> NDArray[np.int64]:
    """The number of each value in order of first occurrence: equal values have equal codes."""
    encoded = column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
    encoded = encoded.dictionary_encode()  # one dictionary for all chunks
    indices = [chunk.indices.fill_null(-1).to_numpy() for chunk in encoded.chunks]
    return np.concatenate([np.empty(0, np.int64), *indices]).astype(np.int64)


def pair_codes(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of each pair of codes, in order of first occurrence."""
    return codes_of(pa.array((first + 1) * (second.max(initial=-1) + 2) + second + 1))


def first_repeat(codes: NDArray[np.int64]) -> tuple[int, int] | None:
    """The first row whose code was seen before, with the row where it was; None if all differ.

    Example:
        >>> first_repeat(np.array([0, 1, 2, 1]))
        (3, 1)
    """
    seen = np.maximum.accumulate(codes[:-1]) if len(codes) > 1 else codes[:0]
    repeats = np.flatnonzero(codes[1:] <= seen)
    if not len(repeats):
        return None
    row = int(repeats[0]) + 1
    return row, int(np.flatnonzero(codes[:row] == codes[row])[0])


def first_rows(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row where each code first occurs, for codes numbered in that order.

    Example:
        >>> first_rows(np.array([0, 0, 1, 0, 2]))
        array([0, 2, 4])
    """
    return np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))


def refuse_repeats(source: Source, name: str, codes: NDArray[np.int64], expected: str) -> None:
    """Refuses the first row whose code was seen before."""
    repeat = first_repeat(codes)
    if repeat is not None:
        row, before = repeat
        found = f"{show(source.table[name][row])} again (first in row {before})"
        raise source.error(name, row, found=found, expected=expected)


def index_of(values: pa.ChunkedArray, known: pa.ChunkedArray) -> NDArray[np.int64]:
    """Where each of ``values`` stands in ``known`` (first occurrence), -1 where it does not.

    Example:
        >>> index_of(pa.chunked_array([["b", "x"]]), pa.chunked_array([["a"], ["b"]]))
        array([ 1, -1])
    """
    found: NDArray[np.int32] = pc.fill_null(
        pc.index_in(values, value_set=known.combine_chunks()), -1
    ).to_numpy()
    return found.astype(np.int64)


def _floats(source: Source, name: str, expected: str) -> pa.ChunkedArray:
    """The column as float64, or an error for the first value that is no number."""
    column = source.table[name]
    kind = plain_type(column.type)
    try:
        if not pa.types.is_boolean(kind):
            return column.cast(pa.float64())
    except pa.ArrowException:
        if pa.types.is_string(kind):
            number = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
            fits = pc.match_substring_regex(column.cast(pa.string()), number)
            source.refuse_where(pc.invert(fits), name, expected=expected)
    raise source.error(name, None, found=f"{kind} values", expected=expected)
