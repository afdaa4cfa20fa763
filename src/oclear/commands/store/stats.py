"""``oclear store stats``: how much lies in an index folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table

from oclear.commands.shared.result import CommandResult
from oclear.progress import Reporter
from oclear.store import Index, active_model, model_ids


def stats(index: Path, reporter: Reporter) -> CommandResult:
    """Counts items, vectors, versions and bytes, for each model of an index.

    Args:
        index: The index folder.
        reporter: Says what happens.

    Raises:
        FormatError: Not an index.
    """
    active = active_model(index)
    models = [_of_model(Index.open(index, model), model == active) for model in model_ids(index)]
    disk = _bytes_in(index)
    data = {"index": str(index), "active": active, "models": models, "disk": disk}
    table = Table(
        "model", "active", "items", "vectors", "numbers", "versions", "files", "disk", box=None
    )
    for model in models:
        table.add_row(
            model["model_id"],
            "yes" if model["active"] else "",
            *(f"{model[name]:,}" for name in ("items", "vectors", "dim", "versions", "files")),
            _shown(model["disk"]),
        )
    attributes = ", ".join(models[0]["attributes"])
    return CommandResult(
        data, Group(table, f"attributes: {attributes}", f"disk with all models: {_shown(disk)}")
    )


def _of_model(opened: Index, active: bool) -> dict[str, Any]:
    count, layout = opened.count(), opened.layout()
    return {
        "model_id": opened.model_id,
        "active": active,
        "items": count.items,
        "vectors": count.vectors,
        "dim": opened.dim,
        "versions": layout.versions,
        "files": layout.files,
        "disk": _bytes_in(layout.folder),
        "tracks_changes": opened.model.tracks_changes,
        "attributes": {name: str(kind) for name, kind in opened.attributes().items()},
    }


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _shown(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
