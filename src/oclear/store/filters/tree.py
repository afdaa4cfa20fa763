"""A checked filter as a tree, which writers turn into what a store understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Node:
    """One part of a checked filter.

    Attributes:
        op: What it is. Leaves: ``column`` and ``value``. True or false: ``and``, ``or``, ``not``, ``= <> < <= > >=``,
            ``in``, ``like``, ``ilike``, ``is null``, ``is true``, ``is false``, ``has``. Others: ``+ - * / %``,
            ``negate``, ``double`` (made one), ``lower``, ``upper``.
        kind: What it gives: boolean, integer, number, text, date, time, "list of ...", null or other. Integers fit
            64 bits; numbers are doubles.
        args: Its parts. Both sides of a comparison are of one kind; those of ``in`` are the left side, then the values.
        value: The name of a column as the user has it, or a value as a Python object (times in UTC, without a zone).
    """

    op: str
    kind: str
    args: tuple[Node, ...] = ()
    value: Any = None

    @property
    def is_value(self) -> bool:
        """Whether it is a plain value that the user wrote."""
        return self.op == "value"
