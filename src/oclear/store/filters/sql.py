"""A checked filter as the SQL that LanceDB runs."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.types as kinds

from oclear.store.columns import stored_name
from oclear.store.filters.tree import Node


def sql_of(node: Node, columns: Mapping[str, pa.DataType]) -> str:
    """The SQL over the store's columns.

    Args:
        node: A filter of :func:`~oclear.store.filters.parse_filter`.
        columns: The attributes' types, by the user's names.

    Example:
        >>> from oclear.store.filters import parse_filter
        >>> columns = {"price": pa.float64()}
        >>> sql_of(parse_filter("price < 20", columns), columns)
        '(`price` < 20.0)'
    """
    if node.op == "column":
        return _column(node, columns[node.value])
    if node.op == "value":
        return _value(node)
    args = [sql_of(arg, columns) for arg in node.args]
    if node.op in ("and", "or"):
        return f"({f' {node.op.upper()} '.join(args)})"
    if node.op == "not":
        return f"(NOT {args[0]})"
    if node.op == "in":
        return f"({args[0]} IN ({', '.join(args[1:])}))"
    if node.op.startswith("is "):
        return f"({args[0]} {node.op.upper()})"
    if node.op == "negate":
        return f"(-{args[0]})"
    if node.op == "double":
        return f"cast({args[0]} AS double)"
    if node.op == "has":
        return f"array_has({args[0]}, {args[1]})"
    if node.op in ("lower", "upper"):
        return f"{node.op}({args[0]})"
    return f"({args[0]} {node.op.upper()} {args[1]})"


def _column(node: Node, found: pa.DataType) -> str:
    sql = f"`{stored_name(node.value)}`"
    if node.kind == "integer" and not kinds.is_int64(found):
        # LanceDB refuses a literal that a narrow column cannot hold, such as 1000 for int8.
        return f"cast({sql} AS bigint)"
    if kinds.is_uint64(found) or kinds.is_decimal(found):
        return f"cast({sql} AS double)"
    return sql


def _value(node: Node) -> str:
    if node.kind == "boolean":
        return "true" if node.value else "false"
    if node.kind == "text":
        escaped = node.value.replace("'", "''")
        return f"'{escaped}'"
    if node.kind == "date":
        return f"cast('{node.value.isoformat()}' AS date)"
    if node.kind == "time":
        return f"cast('{node.value.isoformat(timespec='microseconds')}' AS timestamp)"
    return f"{node.value!r}"
