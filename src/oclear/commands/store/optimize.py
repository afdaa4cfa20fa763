"""``oclear store optimize``: tidy up an index folder."""

from __future__ import annotations

from pathlib import Path

from oclear.commands.shared.result import CommandResult
from oclear.progress import Reporter
from oclear.store import Index, model_ids


def optimize(index: Path, reporter: Reporter) -> CommandResult:
    """Joins small files and drops old versions; no answer changes, and servers go on meanwhile.

    An index of format version 1 becomes one of the present version.

    Args:
        index: The index folder.
        reporter: Says what happens.

    Raises:
        FormatError: Not an index.
        StoreBusyError: Another process is writing.
    """
    files = {"before": 0, "after": 0}
    for model in model_ids(index):
        opened = Index.open(index, model)
        files["before"] += opened.layout().files
        opened.optimize()
        files["after"] += opened.layout().files
    data = {"index": str(index), "files_before": files["before"], "files_after": files["after"]}
    return CommandResult(
        data, f"index {index}: {files['before']:,} data files are now {files['after']:,}"
    )
