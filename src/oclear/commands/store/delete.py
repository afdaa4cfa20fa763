"""``oclear store delete``: items out of an index, or a former model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.progress import Reporter
from oclear.store import model_ids, open_index, remove_model
from oclear.tables import read_item_ids


def delete(
    index: Path,
    item_ids: Sequence[str],
    items: Path | None,
    model_id: str | None,
    reporter: Reporter,
) -> CommandResult:
    """Removes items from an index; or, with ``model_id``, all vectors of a model that is no longer active.

    Args:
        index: The index folder.
        item_ids: Items to remove; unknown ones are counted, no more.
        items: A table with an ``item_id`` column, of more items to remove.
        model_id: A model to remove instead.
        reporter: Says what happens.

    Raises:
        InputError: Nothing to remove was named, or both kinds, or the active model.
        FormatError: Not an index, or it has no vectors of the model.
    """
    if (model_id is None) == (not item_ids and items is None):
        raise InputError(
            "what to remove? give items, or --items TABLE; or else --model-id",
            "See 'oclear store delete --help'.",
        )
    if model_id is not None:
        remove_model(index, model_id)
        left = model_ids(index)
        return CommandResult(
            {"removed_model": model_id, "models": left, "index": str(index)},
            f"index {index}: removed the vectors of model {model_id}; left: {', '.join(left)}",
        )
    wanted = dict.fromkeys(item_ids)
    if items is not None:
        wanted |= dict.fromkeys(read_item_ids(items))
    opened = open_index(index)
    removed = opened.delete(wanted)
    count = opened.count()
    data = {
        "removed": removed,
        "not_found": len(wanted) - removed,
        "items": count.items,
        "vectors": count.vectors,
        "index": str(index),
    }
    view = (
        f"index {index}: {removed:,} items removed, {data['not_found']:,} not found; "
        f"{count.items:,} items, {count.vectors:,} vectors left"
    )
    return CommandResult(data, view)
