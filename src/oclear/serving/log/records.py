"""One line of the log: a checksum, then what happened as JSON.

    5d41402a {"kind":"search","time":1764223500000000,"request_id":...}

A line counts only when it ends with a newline and its checksum is right, so what a kill tore, or a disk lost, is told
from what was written.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Event = Literal["click", "purchase", "not_this"]


@dataclass(frozen=True)
class Search:
    """One answered photo: a request with its exposures.

    Args:
        request_id: Of this search.
        query_id: Of the photo (and the box in it): the same bytes have the same id.
        item_ids: What was shown, best first.
        model_id: What answered.
        time: Microseconds since 1970.
        session_id: The caller's own, by which it can be erased.
        has_image: Whether the photo was kept, under its ``query_id``.
    """

    request_id: str
    query_id: str
    item_ids: tuple[str, ...]
    model_id: str
    time: int
    session_id: str | None = None
    has_image: bool = False


@dataclass(frozen=True)
class Feedback:
    """What somebody did with an item that a search had shown.

    Args:
        request_id: The search.
        item_id: The item.
        event: ``click``, ``purchase`` or ``not_this``.
        time: Microseconds since 1970.
    """

    request_id: str
    item_id: str
    event: Event
    time: int


Record = Search | Feedback
_KINDS: dict[str, type[Search] | type[Feedback]] = {"search": Search, "feedback": Feedback}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_line(record: Record) -> bytes:
    """The line of a record, newline included.

    Example:
        >>> line = to_line(Feedback("r1", "mug", "click", 5))
        >>> list(read_lines(line + line[:20]))
        [Feedback(request_id='r1', item_id='mug', event='click', time=5), None]
    """
    values = {"kind": _NAMES[type(record)], **asdict(record)}
    given = {name: value for name, value in values.items() if value is not None}
    text = json.dumps(given, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_lines(data: bytes) -> Iterator[Record | None]:
    """The records of a part; None for each line that is torn or damaged."""
    for line in data.splitlines(keepends=True):
        yield _read_line(line)


def _read_line(line: bytes) -> Record | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    values: dict[str, Any] = json.loads(text)
    kind = _KINDS[values.pop("kind")]
    if kind is Search:
        values["item_ids"] = tuple(values["item_ids"])
    return kind(**values)
