"""A user's filter, checked: text in, a tree of known parts out.

LanceDB alone would take ``price < 20; nonsense`` and answer a mistyped value with its own traceback. So
a filter is parsed here, every node must be one that is known below, and columns and the kinds of what is
compared are checked. What runs is written from the checked tree, never the user's text.

Grammar: columns, numbers, 'text', true, false, ``= != < <= > >=``, ``and or not``, ``in (...)``,
``between``, ``like``, ``ilike``, ``is [not] null``, ``+ - * / %``, ``lower()``, ``upper()``,
``array_has(list, value)``. Dates and times are text: ``'2026-01-31'``, ``'2026-01-31 12:00'``.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as kinds

from oclear.errors import InputError, nearest_name
from oclear.store.filters.tree import Node

if TYPE_CHECKING:
    from sqlglot import exp

MAX_LENGTH = 10_000
# LanceDB's own parser gives up (or worse) on deep nesting; a filter by hand is never this deep.
_MAX_DEPTH = 12

_COMPARISONS = {"EQ": "=", "NEQ": "<>", "LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
_ARITHMETIC = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%"}
_LIKES = {"Like": "like", "ILike": "ilike"}
_FUNCTIONS = {"Lower": "lower", "Upper": "upper"}
_CHILDREN = {"this", "expression"}
_ARGUMENTS = {
    "Between": {"this", "low", "high"},
    "In": {"this", "expressions"},
    "Column": {"this", "table", "db", "catalog"},
    "Literal": {"this", "is_string"},
    "Cast": {"this", "to"},
    # How another dialect would divide, which changes nothing here.
    "Div": {"this", "expression", "typed", "safe"},
    "Null": set(),
}
_SUPPORTED = (
    "Known: = != < <= > >= and or not in between like is null + - * / % lower upper array_has."
)


def parse_filter(text: str, columns: Mapping[str, pa.DataType]) -> Node:
    """Check a filter.

    Args:
        text: What the user wrote.
        columns: The attributes that may be named (under the user's names) and their types.

    Returns:
        A tree that is true or false for an item, or null where a value is missing.

    Raises:
        InputError: The filter cannot be read, names an unknown column, compares what cannot be
            compared, is no true-or-false expression, or uses anything beyond the grammar above.

    Example:
        >>> found = parse_filter("price < 20", {"price": pa.float64()})
        >>> found.op, found.args[0].value, found.args[1].value
        ('<', 'price', 20.0)
    """
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    check = _Checker(text, columns)
    if len(text) > MAX_LENGTH:
        raise InputError(f"the filter has {len(text)} characters, expected at most {MAX_LENGTH}")
    try:
        tree = parse_one(text, read=_dialect(), into=exp.Condition)
        node = check.node(tree, 0)
    except (SqlglotError, RecursionError) as error:
        raise InputError(
            f"filter {_shown(text)}: cannot be read as one true-or-false expression",
            "Write it like: price < 20 and brand = 'Acme'. "
            "Odd column names go in backticks, text in single quotes.",
        ) from error
    if node.kind != "boolean":
        raise check.refused(
            "it is not true or false", "Compare it with something, as in: price < 20."
        )
    return node


@cache
def _dialect() -> Any:
    """The usual SQL, with backticks around names as well. Made once: that takes ten times a parse."""
    from sqlglot import Dialect
    from sqlglot.tokens import Tokenizer as BaseTokenizer

    class FilterDialect(Dialect):
        class Tokenizer(BaseTokenizer):
            IDENTIFIERS = ['"', "`"]  # noqa: RUF012  (sqlglot reads it so)

    return FilterDialect


class _Checker:
    """Walks the parsed filter; each method checks one form and gives its node."""

    def __init__(self, text: str, columns: Mapping[str, pa.DataType]) -> None:
        self.text = text
        self.columns = columns

    def refused(self, reason: str, hint: str) -> InputError:
        return InputError(f"filter {_shown(self.text)}: {reason}", hint)

    def node(self, found: exp.Expr, depth: int) -> Node:
        name = type(found).__name__
        given = {key for key, value in found.args.items() if value}
        if depth > _MAX_DEPTH:
            raise self.refused("too many levels of parentheses", "Write it with fewer.")
        if not given <= _ARGUMENTS.get(name, _CHILDREN):
            raise self.refused("it has a part that filters do not know", _SUPPORTED)
        if name in ("And", "Or"):
            return self._logical(found, name, depth)
        if name == "Paren":
            return self.node(found.this, depth)
        if name == "Not":
            return Node("not", "boolean", (self._of_kind(found.this, "boolean", depth),))
        if name in _COMPARISONS:
            pair = self._pair(found.this, found.expression, depth)
            return Node(_COMPARISONS[name], "boolean", pair)
        if name == "Between":
            low = Node("<=", "boolean", self._pair(found.args["low"], found.this, depth))
            high = Node("<=", "boolean", self._pair(found.this, found.args["high"], depth))
            return Node("and", "boolean", (low, high))
        if name == "In":
            return self._in(found, depth)
        if name in _LIKES:
            left = self._of_kind(found.this, "text", depth)
            right = self._of_kind(found.expression, "text", depth)
            if not right.is_value:
                raise self.refused(
                    f"'{_LIKES[name]}' takes a plain text", "Write it like: title like '%mug%'."
                )
            return Node(_LIKES[name], "boolean", (left, right))
        if name == "Is":
            return self._is(found, depth)
        if name in _ARITHMETIC:
            return self._arithmetic(found, name, depth)
        if name == "Neg":
            inner = self._numeric(found.this, depth + 1)
            if inner.is_value:
                return replace(inner, value=-inner.value)
            return Node("negate", inner.kind, (inner,))
        if name in _FUNCTIONS:
            return Node(_FUNCTIONS[name], "text", (self._of_kind(found.this, "text", depth),))
        if name == "ArrayContains":
            return self._contains(found, depth)
        if name == "Column":
            return self._column(found)
        if name == "Literal":
            return self._literal(found)
        if name == "Boolean":
            return Node("value", "boolean", value=bool(found.this))
        if (
            name == "Cast"
            and found.this.is_string
            and found.args["to"].sql() in ("DATE", "TIMESTAMP")
        ):
            # date '2026-01-31': the text alone says as much.
            return self.node(found.this, depth + 1)
        raise self.refused(f"'{found.sql()}' is not something filters know", _SUPPORTED)

    def _logical(self, found: exp.Expr, name: str, depth: int) -> Node:
        # A chain of one kind is a flat list: a thousand alternatives are wide, not deep.
        parts: list[exp.Expr] = []
        left: exp.Expr = found
        while type(left).__name__ == name:
            parts.append(left.expression)
            left = left.this
        parts.append(left)
        nodes = [self._of_kind(part, "boolean", depth + 1) for part in reversed(parts)]
        return Node(name.lower(), "boolean", tuple(nodes))

    def _of_kind(self, found: exp.Expr, kind: str, depth: int) -> Node:
        node = self.node(found, depth + 1)
        if node.kind != kind:
            what = "true or false" if kind == "boolean" else kind
            raise self.refused(f"'{found.sql()}' is {node.kind}, expected {what}", _SUPPORTED)
        return node

    def _numeric(self, found: exp.Expr, depth: int) -> Node:
        node = self.node(found, depth)
        if node.kind not in ("integer", "number"):
            raise self.refused(f"'{found.sql()}' is {node.kind}, expected a number", _SUPPORTED)
        return node

    def _pair(self, left: exp.Expr, right: exp.Expr, depth: int) -> tuple[Node, Node]:
        """Two parts that can be compared, brought to one kind."""
        first, second = self.node(left, depth + 1), self.node(right, depth + 1)
        if first.kind == second.kind and first.kind in (
            "boolean",
            "integer",
            "text",
            "date",
            "time",
        ):
            return first, second
        if {first.kind, second.kind} <= {"integer", "number"}:
            # LanceDB refuses 2.5 for a column of integers, and a sum of both kinds may truncate.
            return _as_double(first), _as_double(second)
        for node, other in ((first, second), (second, first)):
            if node.is_value and node.kind == "text" and other.kind in ("date", "time"):
                moment = self._moment(node.value, other.kind)
                return (moment, second) if node is first else (first, moment)
        if "null" in (first.kind, second.kind):
            raise self.refused("nothing equals null", "Write: is null, or: is not null.")
        raise self.refused(
            f"'{left.sql()}' is {first.kind} and '{right.sql()}' is {second.kind}, "
            "which cannot be compared",
            "Numbers go without quotes, text in single quotes.",
        )

    def _in(self, found: exp.Expr, depth: int) -> Node:
        if not found.expressions:
            raise self.refused(
                "'in' needs a list of values", "Write it like: brand in ('Acme', 'Best')."
            )
        pairs = [self._pair(found.this, value, depth) for value in found.expressions]
        if not all(other.is_value for _, other in pairs):
            raise self.refused(
                "'in' takes plain values only", "Write it like: brand in ('Acme', 'Best')."
            )
        # One 2.5 among integers makes all of them doubles.
        left = max((left for left, _ in pairs), key=lambda node: node.kind == "number")
        values = [_as_double(right) if left.kind == "number" else right for _, right in pairs]
        return Node("in", "boolean", (left, *values))

    def _is(self, found: exp.Expr, depth: int) -> Node:
        what = type(found.expression).__name__
        if what == "Null":
            return Node("is null", "boolean", (self.node(found.this, depth + 1),))
        if what == "Boolean":
            truth = "is true" if found.expression.this else "is false"
            return Node(truth, "boolean", (self._of_kind(found.this, "boolean", depth),))
        raise self.refused("'is' goes with null, true or false only", "Compare values with =.")

    def _arithmetic(self, found: exp.Expr, name: str, depth: int) -> Node:
        nodes = [self._numeric(side, depth + 1) for side in (found.this, found.expression)]
        kind = "integer" if all(node.kind == "integer" for node in nodes) else "number"
        if name in ("Div", "Mod") or kind == "number":
            # Doubles: 7 / 2 is 3.5, and a division by zero is no error.
            nodes, kind = [_as_double(node) for node in nodes], "number"
        return Node(_ARITHMETIC[name], kind, tuple(nodes))

    def _contains(self, found: exp.Expr, depth: int) -> Node:
        values = self.node(found.this, depth + 1)
        value = self.node(found.expression, depth + 1)
        held = values.kind.removeprefix("list of ")
        fits = held == value.kind or {held, value.kind} <= {"integer", "number"}
        if held == values.kind or not fits or not value.is_value:
            raise self.refused(
                f"array_has takes a list column and a value, found {values.kind} and {value.kind}",
                "Write it like: array_has(tags, 'red').",
            )
        return Node("has", "boolean", (values, value))

    def _column(self, found: exp.Expr) -> Node:
        # An unquoted a.b is parsed as column b of table a; here it can only be the column "a.b".
        parts = [
            found.args[part] for part in ("catalog", "db", "table", "this") if found.args.get(part)
        ]
        name = ".".join(part.name for part in parts)
        if name not in self.columns:
            alike = [known for known in self.columns if known.casefold() == name.casefold()]
            if len(alike) != 1:
                hint = nearest_name(name, self.columns)
                if len(parts) == 1 and parts[0].args.get("quoted"):
                    hint = f"Text goes in single quotes: '{name}'. {hint}"
                if not hint.endswith(known := f"Known: {', '.join(self.columns)}."):
                    hint = f"{hint} {known}"
                raise self.refused(f"there is no column '{name}'", hint)
            name = alike[0]
        return Node("column", _kind_of(self.columns[name]), value=name)

    def _literal(self, found: exp.Expr) -> Node:
        text = str(found.this)
        if found.is_string:
            return Node("value", "text", value=text)
        if text.isascii() and text.isdigit() and int(text) < 2**63:
            return Node("value", "integer", value=int(text))
        try:
            number = float(text)
        except ValueError:
            number = math.inf
        if math.isinf(number):
            raise self.refused(f"'{text}' is not a number that can be compared", _SUPPORTED)
        return Node("value", "number", value=number)

    def _moment(self, text: str, kind: str) -> Node:
        try:
            if kind == "date":
                return Node("value", kind, value=datetime.date.fromisoformat(text))
            moment = datetime.datetime.fromisoformat(text)
        except ValueError as error:
            form = "2026-01-31" if kind == "date" else "2026-01-31 or 2026-01-31 12:00"
            raise self.refused(f"'{text}' is not a {kind}", f"Write it like: '{form}'.") from error
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        return Node("value", kind, value=moment)


def _as_double(node: Node) -> Node:
    if node.kind == "number":
        return node
    if node.is_value:
        return Node("value", "number", value=float(node.value))
    return Node("double", "number", (node,))


def _kind_of(found: pa.DataType) -> str:
    if kinds.is_list(found):
        return f"list of {_kind_of(found.value_type)}"
    for kind, tests in {
        "boolean": (kinds.is_boolean,),
        # What 64 bits cannot hold with a sign is compared as doubles.
        "number": (kinds.is_floating, kinds.is_decimal, kinds.is_uint64),
        "integer": (kinds.is_integer,),
        "text": (kinds.is_string,),
        "date": (kinds.is_date,),
        "time": (kinds.is_timestamp,),
    }.items():
        if any(test(found) for test in tests):
            return kind
    return "other"


def _shown(text: str) -> str:
    """The filter as a message quotes it: one line of bounded length."""
    line = " ".join(text.split())
    return repr(line if len(line) <= 120 else line[:117] + "...")
