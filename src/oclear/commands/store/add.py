"""``oclear store add``: new and changed items into an index, beside those that are there."""

from __future__ import annotations

from pathlib import Path

from oclear.commands.shared.indexing import IndexConfig, bring_up_to_date, read_given
from oclear.commands.shared.photos import open_index
from oclear.commands.shared.result import CommandResult
from oclear.progress import Reporter
from oclear.tables import read_items


def add(
    index: Path, items: Path, vectors: Path | None, config: IndexConfig, reporter: Reporter
) -> CommandResult:
    """Adds items to an index or updates them, with the index's own copy of its model; all others stay.

    Items whose pictures and texts did not change are not encoded again; a killed run continues where it was. A server
    on the same folder finds each batch as soon as it is stored.

    Args:
        index: The index folder.
        items: The items, in any table form; one row does.
        vectors: Their vectors, made elsewhere by this very model; nothing is encoded then.
        config: Batch size and limits.
        reporter: Says what happens.

    Raises:
        InputError: Too many pictures are bad.
        FormatError: Not an index.
        ModelMismatchError: Another model made the vectors.
    """
    target, model = open_index(index, None)
    table = read_items(items)
    given = read_given(vectors, model, table)
    before = target.count()
    encoded, skipped = bring_up_to_date(
        target, index, table, model, given, config, reporter, others_stay=True
    )
    after = target.count()
    data = {
        "items": after.items,
        "vectors": after.vectors,
        "added": after.items - before.items,
        "encoded": encoded,
        "skipped": len(skipped),
        "index": str(index),
    }
    view = (
        f"index {index}: {after.items:,} items ({data['added']:+,}), {after.vectors:,} vectors; "
        f"{encoded:,} items encoded, {len(skipped):,} pictures skipped"
    )
    return CommandResult(data, view)
