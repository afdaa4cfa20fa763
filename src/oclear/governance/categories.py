"""What governance decides, and the folder it is kept in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from oclear.errors import FormatError, InputError
from oclear.governance.changes import Previous
from oclear.governance.evidence import Edges
from oclear.tables import Items, index_of, write_table

FORMAT_VERSION = 1

SAMPLES_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("side", pa.string()),
        ("key", pa.string()),
        ("part", pa.int32()),
        ("category_id", pa.int64()),
        ("weight", pa.float32()),
        ("evidence", pa.string()),
    ]
)


@dataclass(frozen=True, eq=False)
class Categories:
    """Category IDs with their samples.

    Args:
        samples: One row per membership; see ``SAMPLES_SCHEMA``.
        categories: One row an ID: ``category_id``, ``items``, ``documents``, ``queries``, ``purity`` (estimated share
            of right members, in [0, 1]), ``item_purity`` (the same of its items alone), ``clicked_photos`` (photos with
            a click on its items), ``clicked_photos_elsewhere`` (those found to show something else),
            ``representatives`` (item ids).
        links: ``id_a``, ``id_b``, ``kind``, ``weight``: IDs that evidence ties without merging them.
        evidence: The edges of every kind.
        validation: ``query_id`` and ``item_id`` of clicks held out of training, or None.
        next_id: The first ID never used.
        summary: Counts for people, and where the labels come from.
        matches: Judged pairs: ``item_a``, ``item_b``, ``score`` (log-odds past the margin) and one column a
            comparison; None where the keys were too few to learn to judge.
        changes: What changed since the round before, see :class:`~oclear.governance.changes.Changes`; None without one.
    """

    samples: pa.Table
    categories: pa.Table
    links: pa.Table
    evidence: list[Edges]
    validation: pa.Table | None
    next_id: int
    summary: dict[str, Any] = field(default_factory=dict)
    matches: pa.Table | None = None
    changes: pa.Table | None = None


def write_categories(folder: Path, categories: Categories, items: Items) -> None:
    """Writes the folder that ``train`` reads; ``folder`` must be there and empty."""
    write_table(categories.samples, folder / "samples.parquet")
    write_table(categories.categories, folder / "categories.parquet")
    write_table(categories.links, folder / "links.parquet")
    if categories.validation is not None:
        write_table(categories.validation, folder / "validation.parquet")
    if categories.changes is not None:
        write_table(categories.changes, folder / "changes.parquet")
    (folder / "evidence").mkdir()
    by_kind: dict[str, list[pa.Table]] = {}
    for edges in categories.evidence:
        # By id, not by row: the order of the catalogue decides nothing.
        a, b = items.ids[edges.a], items.ids[edges.b]
        table = pa.table(
            {
                "item_a": pa.array(np.minimum(a, b), pa.string()),
                "item_b": pa.array(np.maximum(a, b), pa.string()),
                "weight": pa.array(edges.weight),
                "reason": pa.array([edges.reason] * len(edges), pa.string()),
            }
        )
        by_kind.setdefault(edges.kind, []).append(table)
    for kind, tables in by_kind.items():
        order = [(name, "ascending") for name in ("item_a", "item_b", "reason")]
        table = pa.concat_tables(tables).sort_by(order)
        write_table(table, folder / "evidence" / f"{kind}.parquet")
    if categories.matches is not None:
        write_table(categories.matches, folder / "evidence" / "matches.parquet")
    manifest = {
        "format_version": FORMAT_VERSION,
        "next_category_id": categories.next_id,
        "summary": categories.summary,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a categorize folder.

    Raises:
        InputError: It is not one.
        FormatError: A newer program wrote it.
    """
    path = folder / "manifest.json"
    if not path.is_file() or not (folder / "samples.parquet").is_file():
        raise InputError(
            f"{folder}: not a categorize folder (no manifest.json and samples.parquet in it)",
            "Give the --out folder of 'oclear categorize'.",
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        version = int(manifest["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: damaged, or not of a categorize folder") from error
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path}: format version {version}, this program reads up to {FORMAT_VERSION}",
            "Install a newer oclear.",
        )
    if not isinstance(manifest.get("next_category_id"), int):
        raise FormatError(f"{path}: damaged, it has no next_category_id")
    return manifest


def read_samples(folder: Path) -> tuple[pa.Table, pa.Table, pa.Table | None]:
    """The samples, the categories and the held-out clicks of a categorize folder.

    Raises:
        InputError: It is not one.
        FormatError: A file in it is damaged.
    """
    read_manifest(folder)
    held_out = folder / "validation.parquet"
    try:
        samples = _read(folder / "samples.parquet")
        categories = _read(folder / "categories.parquet")
        validation = _read(held_out) if held_out.is_file() else None
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{folder}: a table in it is missing or damaged ({error})") from error
    missing = [name for name in SAMPLES_SCHEMA.names if name not in samples.column_names]
    if missing:
        raise FormatError(f"{folder / 'samples.parquet'}: no column '{missing[0]}'")
    return samples, categories, validation


def previous_ids(folder: Path, items: Items) -> Previous:
    """What a categorize folder says of the items of today's catalogue, and of those no longer in it.

    Raises:
        InputError: It is not one.
        FormatError: A file in it is damaged.
    """
    manifest = read_manifest(folder)
    samples, _, _ = read_samples(folder)
    documents = samples.filter(pc.equal(samples["side"], "document"))
    rows = index_of(items.table["item_id"], documents["key"])
    known = rows >= 0
    category = documents["category_id"].to_numpy()
    previous = np.full(len(items), -1, np.int64)
    previous[known] = category[rows[known]]
    keys = documents["key"].to_numpy()
    away = np.flatnonzero(index_of(documents["key"], items.table["item_id"]) < 0)
    gone, first = np.unique(keys[away].astype(str), return_index=True)
    return Previous(
        previous, int(manifest["next_category_id"]), gone.astype(object), category[away[first]]
    )


def _read(path: Path) -> pa.Table:
    # Without partitioning, or a folder name like "wrong=0.2" becomes a column.
    return pq.read_table(path, partitioning=None)
