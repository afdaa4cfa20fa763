"""``oclear log``: from what servers wrote to the tables that ``categorize`` reads; and erasing."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.serving.log import compact as compact_log
from oclear.serving.log import erase_session


def compact(log: Path) -> CommandResult:
    """Takes finished parts over into ``exposures/`` and ``queries.parquet``; servers may go on running.

    Raises:
        InputError: No log is there.
    """
    _require(log)
    done = compact_log(log)
    view = (
        f"{done.searches:,} searches and {done.feedback:,} clicks and the like from {done.parts:,} parts: "
        f"{done.exposures:,} exposures; {done.waiting:,} wait for another part, "
        f"{done.unknown:,} on nothing that was shown, {done.damaged:,} damaged lines"
    )
    return CommandResult({**asdict(done), "log": str(log)}, view)


def erase(log: Path, session: str) -> CommandResult:
    """Erases what a session searched and clicked, and its photos.

    Raises:
        InputError: No log is there.
    """
    _require(log)
    done = erase_session(log, session)
    view = (
        f"{done.rows:,} rows and {done.images:,} photos erased; {done.in_running_parts:,} searches "
        "in parts of running servers never reach a table"
    )
    return CommandResult({**asdict(done), "log": str(log)}, view)


def _require(log: Path) -> None:
    if not (log / "parts").is_dir():
        raise InputError(f"{log}: no exposure log here", "Give the --log folder of 'oclear serve'.")
