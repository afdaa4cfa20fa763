"""``oclear categorize``: items + exposures -> category IDs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from oclear.commands.shared.features import compute_features, looks_of, open_eye, read_eye_features
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.config import write_run_record
from oclear.errors import InputError
from oclear.governance import (
    Categories,
    GovernanceConfig,
    categorize_log,
    categorize_truth,
    previous_ids,
    write_categories,
)
from oclear.governance.evidence.keys import (
    KNOWN_FORBIDS,
    KNOWN_KEYS,
    codes_of,
    key_edges,
    resolve_columns,
)
from oclear.governance.evidence.users import load_evidence
from oclear.governance.report import open_categories, write_page
from oclear.model import ModelConfig
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.tables import (
    Exposures,
    Items,
    Queries,
    SkippedImages,
    read_exposures,
    read_items,
    read_queries,
    read_truth,
)

Labels = Literal["log", "truth"]


class CategorizeConfig(BaseModel):
    """Configuration of ``oclear categorize``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    governance: GovernanceConfig = GovernanceConfig()
    model: ModelConfig = ModelConfig()
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


def categorize(
    items: Path,
    queries: Path | None,
    exposures: Path | None,
    features: Path | None,
    model: str | None,
    previous: Path | None,
    labels: Labels,
    out: Path,
    config: CategorizeConfig,
    reporter: Reporter,
    *,
    overwrite: bool = False,
    cache: Path | None = None,
) -> CommandResult:
    """Turns a catalogue and a log into category IDs.

    Args:
        items: The catalogue.
        queries: The photos; only those with ``split = train`` are used.
        exposures: The log.
        features: Vectors from ``oclear embed``; computed with ``model`` where not given.
        model: The eye: a trained model or a packaged encoder; the configured encoder where None.
        previous: The folder of the round before, whose IDs live on.
        labels: ``log``, or ``truth`` to learn from the true items of the training queries instead.
        out: The folder to write.
        config: Gates and columns.
        reporter: Says what happens.
        overwrite: Replace ``out``.
        cache: Where encoder output is kept for a training that follows.

    Raises:
        InputError: Options that do not go together.
        TableError: A wrong table.
    """
    refuse_overwriting(out, items, queries, exposures, features, previous, model)
    item_table = read_items(items)
    query_table, log, truth, has_validation = _empty_queries(item_table), None, None, False
    if queries is not None:
        everything = read_queries(queries)
        query_table = everything.split("train")
        if not len(query_table):
            raise InputError(
                f"{queries}: no query has split = 'train'",
                "Only training queries are categorized; leave the column out to use all.",
            )
        truth = read_truth(queries)
        has_validation = truth is not None and _knows_any(
            truth, everything.split("val"), item_table
        )
        if exposures is not None:
            log = read_exposures(exposures, item_table, everything)
            _say_unknown(log, reporter)
            if not pc.any(log.table["clicked"]).as_py():
                known = " of known items and queries" if len(_unknown(log)) else ""
                raise InputError(
                    f"{exposures}: none of its {len(log):,} exposures{known} is clicked",
                    "Photos get their IDs from clicks: give a log with some, or use --labels truth.",
                )
        names, counts = np.unique(everything.splits.astype(str), return_counts=True)
        shares = ", ".join(f"{n:,} {name}" for name, n in zip(names, counts, strict=True))
        reporter.say(f"photos by split: {shares}")
    elif exposures is not None:
        raise InputError(
            "--exposures without --queries", "Give the queries that the log speaks of."
        )
    if labels == "truth" and truth is None:
        raise InputError(
            "--labels truth: the queries have no column 'item_id' and there is no truth.parquet",
            "Give the true items, or use --labels log.",
        )
    if labels == "truth" and truth is not None:
        truth.pairs_for(query_table, item_table)  # refuses true items that are not in the catalogue
    _check_evidence(item_table, config.governance)
    if features is None:
        item_table.pictures().require_readable()
        if len(query_table):
            query_table.pictures().require_readable()
    old = previous_ids(previous, item_table) if previous is not None else None
    skipped = SkippedImages()
    with atomic_folder(out, overwrite=overwrite) as folder:
        if features is not None:
            vectors, source = read_eye_features(features), str(features)
        else:
            eye = open_eye(model, config.model)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                photos = query_table if len(query_table) else None
                vectors = compute_features(
                    eye, item_table, photos, cache or Path(scratch), skipped, reporter
                )
            source = model or config.model.image_encoder
        skipped.check(len(item_table.pictures()) + len(query_table), config.max_bad_images)
        looks = looks_of(vectors, item_table, query_table, source)
        reporter.say("merging evidence into category IDs")
        if labels == "truth" and truth is not None:
            found = categorize_truth(
                item_table, query_table, truth, looks, config.governance, previous=old
            )
        else:
            found = categorize_log(
                item_table,
                query_table,
                log,
                looks,
                config.governance,
                hold_out=not has_validation,
                previous=old,
                skipped=skipped,
            )
        write_categories(folder, found, item_table)
        skipped.write(folder / "skipped.parquet")
        write_run_record(
            folder,
            "categorize",
            config,
            {
                "items": items,
                "queries": queries,
                "exposures": exposures,
                "features": features,
                "model": (model or config.model.image_encoder) if features is None else None,
                "previous": previous,
                "labels": labels,
            },
        )
        reporter.say("writing report.html")
        write_page(folder / "report.html", open_categories(folder, item_table, query_table))
    unknown = {} if log is None else _unknown(log)
    data = {**found.summary, **unknown, "samples": found.samples.num_rows, "skipped": len(skipped)}
    return CommandResult({**data, "out": str(out)}, _view(found, len(skipped)))


def _unknown(log: Exposures) -> dict[str, int]:
    """Exposures left out for their ids, where there are any."""
    counts = {
        "exposures_of_unknown_items": log.unknown_items,
        "exposures_of_unknown_queries": log.unknown_queries,
    }
    return {name: count for name, count in counts.items() if count}


def _say_unknown(log: Exposures, reporter: Reporter) -> None:
    for name, count in _unknown(log).items():
        what = name.rsplit("_", 1)[1]
        reporter.say(f"left out: {count:,} exposures of {what} that are not in the {what} table")


def _check_evidence(items: Items, config: GovernanceConfig) -> None:
    """Refuses what is configured and is not there or cannot be compared by, before any picture is encoded."""
    for name in config.more_evidence:
        load_evidence(name)
    block = () if config.block_column is None else (config.block_column,)
    for column in resolve_columns(items, config.identity_columns, KNOWN_KEYS):
        key_edges(items, column)
    for column in (*resolve_columns(items, config.forbid_columns, KNOWN_FORBIDS), *block):
        resolve_columns(items, (column,), ())
        codes_of(items, column)


def _empty_queries(items: Items) -> Queries:
    import pyarrow as pa

    nothing = pa.table(
        {"query_id": pa.array([], pa.string()), "image_path": pa.array([], pa.string())}
    )
    return Queries(items.path, nothing)


def _knows_any(truth: Any, queries: Queries, items: Items) -> bool:
    indptr, _ = truth.pairs_for(queries, items)
    return bool(np.diff(indptr).any())


def _view(found: Categories, skipped: int) -> Table:
    s = found.summary
    table = Table(title="Category IDs", show_header=False, title_justify="left", min_width=60)
    table.add_column(style="bold")
    table.add_column(justify="right")
    simulated = " (simulated log)" if s.get("simulated") else ""
    table.add_row("labels from", f"{s['labels']}{simulated}")
    if "clicks" in s:
        table.add_row("exposures, clicks", f"{s['exposures']:,}, {s['clicks']:,}")
        table.add_row("clicks on something else", f"{100 * s['noise_share']:.1f} % (estimated)")
        table.add_row(
            "looked at, by position", " ".join(f"{x:.2f}" for x in s["examination_by_position"])
        )
    table.add_row("items", f"{s['items']:,}")
    table.add_row("category IDs", f"{s['category_ids']:,}")
    table.add_row("  with queries", f"{s['ids_with_queries']:,}")
    table.add_row("  with several items", f"{s['ids_with_several_items']:,}")
    table.add_row("  items in the largest", f"{s['largest_id_items']:,}")
    for name, count in s.get("changes", {}).items():
        table.add_row(f"  since --previous, {name.replace('_', ' ')}", f"{count:,}")
    table.add_row("  estimated share of right members", f"{100 * s['estimated_purity']:.1f} %")
    for row in s["evidence_outcome"]:
        if row["pairs"]:
            table.add_row(f"tied by {row['reason']}", _outcome(row))
    matching = s["matching"]
    if matching["learned"]:
        table.add_row(
            "learned from pairs with equal, differing keys",
            f"{matching['pairs_with_equal_keys']:,}, {matching['pairs_with_differing_keys']:,}",
        )
        table.add_row(
            "  merged pairs that are right, right ones merged",
            f"{100 * matching['estimated_pair_precision']:.1f} %, "
            f"{100 * matching['estimated_pair_recall']:.1f} % (by keys put aside)",
        )
    elif s["labels"] != "truth":
        table.add_row("learned from keys", "no: too few items state one, fixed gates decide")
    table.add_row("queries", f"{s['queries']:,}")
    names = {"click": "as clicked", "neighbours": "by neighbours", "truth": "by truth"}
    for name, count in s["queries_in_by"].items():
        table.add_row(f"  in an ID, {names[name]}", f"{count:,}")
    for reason, count in s["queries_left_out"].items():
        table.add_row(f"  left out: {reason}", f"{count:,}")
    if s.get("held_out_for_validation"):
        table.add_row("  held out for validation", f"{s['held_out_for_validation']:,}")
    if skipped:
        table.add_row("pictures skipped", f"{skipped:,}")
    return table


def _outcome(row: dict[str, Any]) -> str:
    """What became of the pairs that one reason ties."""
    parts = [f"{row['pairs']:,} pairs"]
    for name, words in (
        ("refused_by_cannot_link", "refused by cannot-link"),
        ("outweighed", "outweighed"),
    ):
        if row[name]:
            parts.append(f"{row[name]:,} {words}")
    return ", ".join(parts)
