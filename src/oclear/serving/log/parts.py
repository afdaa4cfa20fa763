"""Reading the parts that servers wrote: which of them are finished, and what is in them."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from oclear.output import atomic_file
from oclear.serving.log.part_file import PARTS, SUFFIX
from oclear.serving.log.records import Record, read_lines, to_line

_LOCK = ".lock"
_GROUP_BYTES = 256_000_000


class PartContent(NamedTuple):
    """What is in some parts.

    Attributes:
        records: In the order written, part by part.
        damaged: Lines left out: torn by a kill, or damaged on disk.
    """

    records: list[Record]
    damaged: int


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Only one process changes a log's tables at a time; others wait."""
    with (folder / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def all_parts(folder: Path) -> list[Path]:
    """Every part, also of servers that run, oldest first."""
    return sorted((folder / PARTS).glob(f"*{SUFFIX}"))


def finished_parts(folder: Path) -> Iterator[list[Path]]:
    """Parts whose writers are done with them, oldest first, in groups that fit into memory."""
    group: list[Path] = []
    size = 0
    for path in all_parts(folder):
        if not _is_finished(path):
            continue
        group.append(path)
        size += path.stat().st_size
        if size > _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def read_parts(paths: Iterable[Path]) -> PartContent:
    """The records of parts."""
    found = [record for path in paths for record in read_lines(path.read_bytes())]
    records = [record for record in found if record is not None]
    return PartContent(records, len(found) - len(records))


def write_part(folder: Path, records: Sequence[Record]) -> None:
    """Writes a finished part, whole or not at all."""
    path = folder / PARTS / f"0-carried-{secrets.token_hex(8)}{SUFFIX}"
    with atomic_file(path, lasting=True) as part, part.open("wb") as file:
        file.writelines(map(to_line, records))


def remove_parts(paths: Iterable[Path]) -> None:
    """Removes parts that were taken over into the tables."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _is_finished(path: Path) -> bool:
    """Whether no server holds the part open: it is locked as long as one does."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    except (BlockingIOError, FileNotFoundError):
        return False
