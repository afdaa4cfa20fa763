"""What changed since the round before, item by item and ID by ID."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

CHANGES_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("previous_id", pa.int64()),
        ("category_id", pa.int64()),
        ("change", pa.string()),
    ]
)


@dataclass(frozen=True, eq=False)
class Previous:
    """The IDs of the round before; :func:`~oclear.governance.categories.previous_ids` reads them.

    Args:
        category_id: (items,) the ID of each item of the catalogue as it is now, -1 for new items.
        next_id: The first ID never used.
        gone_items: (gone,) ids of the items that have left the catalogue since.
        gone_category_id: (gone,) the IDs they were in.
    """

    category_id: NDArray[np.int64]
    next_id: int
    gone_items: NDArray[np.object_]
    gone_category_id: NDArray[np.int64]

    def select(self, rows: NDArray[np.int64]) -> Previous:
        """The same for the items in another order."""
        return Previous(
            self.category_id[rows], self.next_id, self.gone_items, self.gone_category_id
        )


@dataclass(frozen=True, eq=False)
class Changes:
    """What changed.

    Args:
        table: One row an item that is new, gone, or in another ID, by item id; columns of ``CHANGES_SCHEMA``.
            ``previous_id`` is null for new items, ``category_id`` for gone ones; ``change`` is ``new item``,
            ``gone item`` or ``moved``.
        counts: ``items_new``, ``items_gone``, ``items_moved``, and how many IDs are ``ids_unchanged``, ``ids_new``,
            ``ids_retired`` (no item is in them any more), or kept with other items than before: ``ids_grown`` (by new
            items), ``ids_shrunk`` (items are gone), ``ids_split`` (items moved to another ID), ``ids_merged`` (items
            moved here from another ID). An ID can be several of the last four.
    """

    table: pa.Table
    counts: dict[str, int]


def list_changes(
    item_ids: NDArray[np.object_], category_id: NDArray[np.int64], previous: Previous
) -> Changes:
    """Compares the IDs of items with those of the round before.

    Args:
        item_ids: (items,) the catalogue as it is now.
        category_id: (items,) their IDs.
        previous: The round before, items in the same order.

    Example:
        >>> gone = np.array(["c"], object), np.array([7])
        >>> before = Previous(np.array([7, 7, -1]), 8, *gone)
        >>> found = list_changes(np.array(["a", "b", "d"], object), np.array([7, 8, 8]), before)
        >>> found.table["item_id"].to_pylist(), found.table["change"].to_pylist()
        (['b', 'c', 'd'], ['moved', 'gone item', 'new item'])
    """
    before = previous.category_id
    is_new = before < 0
    moved = ~is_new & (before != category_id)
    table = pa.concat_tables(
        [
            _rows(item_ids[is_new], None, category_id[is_new], "new item"),
            _rows(previous.gone_items, previous.gone_category_id, None, "gone item"),
            _rows(item_ids[moved], before[moved], category_id[moved], "moved"),
        ]
    )
    old = np.unique(np.concatenate([before[~is_new], previous.gone_category_id]))
    new = np.unique(category_id)
    kept = np.intersect1d(old, new)
    touched = {
        "grown": category_id[is_new],
        "shrunk": previous.gone_category_id,
        "split": before[moved],
        "merged": category_id[moved],
    }
    same = np.setdiff1d(kept, np.concatenate(list(touched.values())))
    counts = {
        "items_new": int(is_new.sum()),
        "items_gone": len(previous.gone_items),
        "items_moved": int(moved.sum()),
        "ids_unchanged": len(same),
        **{f"ids_{name}": len(np.intersect1d(kept, ids)) for name, ids in touched.items()},
        "ids_new": len(new) - len(kept),
        "ids_retired": len(old) - len(kept),
    }
    return Changes(table.sort_by("item_id"), counts)


def _rows(
    items: NDArray[np.object_],
    previous: NDArray[np.int64] | None,
    now: NDArray[np.int64] | None,
    change: str,
) -> pa.Table:
    nothing = pa.nulls(len(items), pa.int64())
    columns = [
        pa.array(items, pa.string()),
        nothing if previous is None else pa.array(previous),
        nothing if now is None else pa.array(now),
        pa.array([change] * len(items), pa.string()),
    ]
    return pa.table(columns, schema=CHANGES_SCHEMA)
