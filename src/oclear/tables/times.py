"""Times as a shop's tables give them: Arrow times, ISO texts, or seconds since 1970."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from oclear.tables.schema import TIMESTAMP, plain_type
from oclear.tables.source import Source, show

_EARLIEST = dt.datetime(1990, 1, 1)
_AHEAD = dt.timedelta(days=1)  # clocks that are set to a zone and say UTC
_FORM = "a time: ISO 8601 as 2026-11-20T06:00:00Z, or a number of seconds since 1970"
# The unit of a number by its size: seconds reach 1e11 in the year 5138, milliseconds were past it in 1973.
_UNITS = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0), (float("inf"), 0.001))


def time_column(source: Source, name: str = "timestamp") -> pa.ChunkedArray:
    """A column of times as UTC timestamps in microseconds, nulls kept.

    Times and texts without a zone are taken as UTC. Numbers count from 1970-01-01 in seconds,
    milliseconds, microseconds or nanoseconds: the unit is told by the largest of the column.
    """
    column = source.table[name]
    kind = plain_type(column.type)
    if pa.types.is_timestamp(kind):
        return column.cast(pa.timestamp("us", kind.tz), safe=False).cast(TIMESTAMP)
    if pa.types.is_date(kind) or pa.types.is_null(kind):
        return column.cast(TIMESTAMP)
    if pa.types.is_string(kind):
        column = column.cast(pa.string())
        number = pc.match_substring_regex(column, r"^-?\d{5,}(\.\d+)?$")
        if not pc.all(number).as_py():
            return _from_text(source, name, column)
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise source.error(name, None, found=f"{kind} values", expected=_FORM)
    return _from_numbers(source, name, column)


def refuse_odd_times(
    source: Source, column: pa.ChunkedArray, name: str = "timestamp", *, future: bool = False
) -> None:
    """Refuses what no log can hold: times before 1990, and times to come, which a wrong unit or clock makes.

    Args:
        source: The table.
        column: Its times, from :func:`time_column`.
        name: The column.
        future: Whether times to come are allowed, as in simulated logs.
    """
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    odd = pc.less(column, pa.scalar(_EARLIEST, TIMESTAMP))
    if not future:
        odd = pc.or_(odd, pc.greater(column, pa.scalar(now + _AHEAD, TIMESTAMP)))
    row = pc.index(odd, pa.scalar(True)).as_py()
    if row >= 0:
        as_read = str(column[row].cast(pa.timestamp("s"), safe=False))
        raise source.error(
            name,
            row,
            found=f"{show(source.table[name][row])}, that is {as_read} UTC",
            expected="a time from 1990 on" + ("" if future else ", not in the future"),
            hint="Numbers count from 1970 in seconds, milli-, micro- or nanoseconds, all rows of a table alike.",
        )


def _from_text(source: Source, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601, each row with or without a zone."""
    day = r"\d{4}-\d{2}-\d{2}"
    clock = r"\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?"
    fits = pc.match_substring_regex(column, rf"^{day}([T ]{clock}(Z|[+-]\d{{2}}(:?\d{{2}})?)?)?$")
    source.refuse_where(pc.invert(fits), name, expected=_FORM)
    text = pc.if_else(
        pc.equal(pc.utf8_length(column), 10),
        pc.binary_join_element_wise(column, "T00:00Z", ""),
        column,
    )
    text = pc.replace_substring_regex(text, r"([.,]\d{6})\d+", r"\1")
    text = pc.replace_substring(text, ",", ".")
    zoned = pc.match_substring_regex(text, r"(Z|[+-]\d{2}(:?\d{2})?)$")
    text = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
    try:
        return text.cast(pa.timestamp("us", "UTC")).cast(TIMESTAMP)
    except pa.ArrowInvalid as error:
        found = "a day or an hour that does not exist"
        raise source.error(name, None, found=found, expected=_FORM) from error


def _from_numbers(source: Source, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    largest = pc.max(pc.abs(column)).as_py()
    if largest is None:
        return pc.cast(pa.nulls(len(column)), TIMESTAMP)
    floats = column.cast(pa.float64(), safe=False)
    source.refuse_where(pc.invert(pc.is_finite(floats)), name, expected=_FORM)
    scale = next(scale for limit, scale in _UNITS if largest < limit)
    whole = pa.types.is_integer(column.type)
    if whole and scale >= 1:
        micros = pc.multiply(column.cast(pa.int64()), int(scale))
    elif whole:
        micros = pc.divide(column.cast(pa.int64()), 1000)
    else:
        micros = pc.round(pc.multiply(floats, scale)).cast(pa.int64())
    return micros.cast(TIMESTAMP)
