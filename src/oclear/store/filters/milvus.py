"""A checked filter as an expression that a Milvus server evaluates, where it can.

Milvus 2.3 knows two truth values and no missing ones; attributes lie in one JSON field, missing ones are not in
it. So for each part there are two expressions: when it is true, and when it is false; both ask first
whether the attribute exists. What is neither is null, as in SQL.
"""

from __future__ import annotations

import json
import re

from oclear.errors import InputError
from oclear.store.columns import ITEM_ID
from oclear.store.filters.tree import Node

_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_SIGN = {"=": "==", "<>": "!="}
_ALL, _NONE = "part >= 0", "part < 0"


def expression_of(node: Node) -> str:
    """The expression over the fields ``item_id``, ``part`` and ``attributes``.

    Raises:
        InputError: The filter asks for what Milvus 2.3 cannot do.

    Example:
        >>> import pyarrow as pa
        >>> from oclear.store.filters import parse_filter
        >>> expression_of(parse_filter("not price < 20", {"price": pa.float64()}))
        '((exists attributes["price"]) && attributes["price"] >= 20.0)'
    """
    return _when(node, truth=True)


def _when(node: Node, *, truth: bool) -> str:
    if node.op == "not":
        return _when(node.args[0], truth=not truth)
    if node.op in ("and", "or"):
        join = " && " if (node.op == "and") == truth else " || "
        return f"({join.join(_when(arg, truth=truth) for arg in node.args)})"
    if node.op in ("is null", "is true", "is false"):
        return _is(node, truth)
    if node.op == "value":
        return _ALL if node.value == truth else _NONE
    if node.op == "column":
        return _known(node, f"{_field(node)} == {'true' if truth else 'false'}")
    if node.op in _OPPOSITE:
        return _comparison(node, truth)
    if node.op == "in":
        column = _column(node.args[0])
        values = ", ".join(_value(value) for value in node.args[1:])
        return _known(column, f"{_field(column)} {'in' if truth else 'not in'} [{values}]")
    if node.op == "like":
        column, pattern = _column(node.args[0]), node.args[1].value
        if re.search(r"[%_\\]", pattern.removesuffix("%")):
            raise _cannot("'like' with more than a '%' at the end")
        found = f"{_field(column)} like {_text(pattern)}"
        return _known(column, found if truth else f"not ({found})")
    if node.op == "has":
        column = _column(node.args[0])
        found = f"json_contains({_field(column)}, {_value(node.args[1])})"
        return _known(column, found if truth else f"not {found}")
    raise _cannot(f"'{node.op}'")


def _comparison(node: Node, truth: bool) -> str:
    left, right = node.args
    op = node.op
    if left.is_value:
        left, right, op = right, left, _MIRRORED[op]
    if not right.is_value:
        raise _cannot("comparing two columns")
    column = _column(left)
    op = op if truth else _OPPOSITE[op]
    return _known(column, f"{_field(column)} {_SIGN.get(op, op)} {_value(right)}")


def _is(node: Node, truth: bool) -> str:
    if node.op == "is null":
        column = _column(node.args[0])
        if column.value == ITEM_ID:
            return _NONE if truth else _ALL
        found = f"exists {_field(column)}"
        return f"(not ({found}))" if truth else f"({found})"
    found = _when(node.args[0], truth=node.op == "is true")
    return found if truth else f"(not {found})"


def _known(column: Node, found: str) -> str:
    """True where the attribute exists and the expression holds; an item id always exists."""
    return f"({found})" if column.value == ITEM_ID else f"((exists {_field(column)}) && {found})"


def _column(node: Node) -> Node:
    # JSON has one kind of number.
    while node.op == "double":
        node = node.args[0]
    if node.op != "column":
        raise _cannot(f"'{node.op}'" if node.op != "value" else "comparing plain values")
    return node


def _field(column: Node) -> str:
    return ITEM_ID if column.value == ITEM_ID else f"attributes[{_text(column.value)}]"


def _value(node: Node) -> str:
    if node.kind in ("date", "time"):
        return _text(moment_text(node.value))
    if node.kind == "text":
        return _text(node.value)
    if node.kind == "boolean":
        return "true" if node.value else "false"
    return repr(node.value)


def moment_text(moment: object) -> str:
    """A date or a time as text that sorts as it does; how the attributes hold it."""
    is_time = hasattr(moment, "hour")
    return str(moment.isoformat(timespec="microseconds") if is_time else moment.isoformat())  # type: ignore[attr-defined]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cannot(what: str) -> InputError:
    return InputError(
        f"the filter uses {what}, which a Milvus server cannot answer",
        "Use = != < > in, like 'start%', is null, array_has, and, or, not on plain columns.",
    )
