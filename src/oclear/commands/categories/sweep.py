"""``oclear categories sweep``: how coarse should category IDs be?"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich import box
from rich.table import Table

from oclear.commands.categories.quick_training import QuickTraining
from oclear.commands.categories.sweep_page import write_sweep_page
from oclear.commands.shared.features import compute_features, looks_of, open_eye, read_eye_features
from oclear.commands.shared.result import CommandResult, to_json
from oclear.commands.shared.runs import refuse_overwriting
from oclear.config import write_run_record
from oclear.errors import InputError
from oclear.governance import Categories, GovernanceConfig, Looks, categorize_log
from oclear.governance.evidence.neighbours import Clustering
from oclear.governance.sweep import SweepPoint, measure_ids, sweep_points
from oclear.model import ModelConfig
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.tables import (
    Items,
    Queries,
    SkippedImages,
    index_of,
    read_exposures,
    read_items,
    read_queries,
    read_truth,
    write_table,
)
from oclear.tables.checks import codes_of
from oclear.tables.products import read_products

Share = Annotated[float, Field(gt=0, le=1)]
Radius = Annotated[float, Field(gt=0, lt=1)]

_SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("radius", pa.float64()),
        ("clusters_share", pa.float64()),
        *((name, pa.int64()) for name in ("category_ids", "ids_with_queries")),
        *((name, pa.int64()) for name in ("ids_with_several_items", "largest_id_items")),
        ("queries_in", pa.int64()),
        ("ids_per_item", pa.float64()),
        ("estimated_purity", pa.float64()),
        *((f"pair_{name}", pa.float64()) for name in ("precision", "recall", "f1")),
        *((f"bcubed_{name}", pa.float64()) for name in ("precision", "recall", "f1")),
        *((name, pa.float64()) for name in ("over_merge", "over_split")),
        *((f"identical_at_1{end}", pa.float64()) for end in ("", "_low", "_high")),
    ]
)


class SweepConfig(BaseModel):
    """Configuration of ``oclear categories sweep``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    governance: GovernanceConfig = GovernanceConfig()
    model: ModelConfig = ModelConfig()
    evidence: Literal["looks", "configured"] = Field(
        default="looks",
        description="what merges items: looks alone, or as governance.evidence says",
    )
    methods: tuple[Clustering, ...] = Field(default=("dbscan", "hdbscan", "kmeans"), min_length=1)
    radii: tuple[Radius, ...] = Field(
        default=(0.03, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3),
        min_length=1,
        description="of dbscan and hdbscan, cosine distance",
    )
    clusters_shares: tuple[Share, ...] = Field(
        default=(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
        min_length=1,
        description="clusters of kmeans for each item",
    )
    kmeans_radius: Radius = Field(
        default=0.3, description="members of kmeans clusters further from the mean leave"
    )
    epochs: float = Field(default=10, gt=0, description="of each quick training")
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


def sweep(
    items: Path,
    queries: Path,
    exposures: Path | None,
    truth: Path | None,
    features: Path | None,
    out: Path,
    config: SweepConfig,
    reporter: Reporter,
    *,
    train: bool = True,
    command: str,
    overwrite: bool = False,
) -> CommandResult:
    """Categorizes at many granularities, and measures each.

    Args:
        items: The catalogue.
        queries: The photos: ``split = train`` is learned from, ``split = val`` measured on where its truth is known.
        exposures: The log. Without it photos get no IDs, and nothing can be trained.
        truth: The true products of items, for the quality of IDs.
        features: Vectors from ``oclear embed``; computed with the configured encoder where None.
        out: Gets ``sweep.parquet``, ``sweep.json`` and ``sweep.html``.
        config: The points, and all that is held fixed.
        reporter: Says what happens.
        train: Train on the IDs of each point, and measure Identical@1.
        command: As the user typed it, for the page.
        overwrite: Replace ``out``.

    Raises:
        InputError: Tables or options that do not go together.
        TableError: A wrong table.
    """
    refuse_overwriting(out, items, queries, exposures, truth, features)
    item_table, everything = read_items(items), read_queries(queries)
    query_table = everything.split("train")
    if not len(query_table):
        raise InputError(
            f"{queries}: no query has split = 'train'",
            "Only training queries are categorized; leave the column out to use all.",
        )
    log = None if exposures is None else read_exposures(exposures, item_table, everything)
    products = None if truth is None else _product_codes(truth, item_table)
    photo_truth = read_truth(queries)
    val = everything.split("val")
    has_val = photo_truth is not None and np.diff(photo_truth.pairs_for(val, item_table)[0]).any()
    if train and not (has_val and log is not None):
        lacks = "no photo of split 'val' has a true item" if log else "there is no --exposures"
        reporter.say(f"nothing is trained: {lacks}")
    if features is None:
        item_table.pictures().require_readable()
        query_table.pictures().require_readable()
    governance = config.governance
    if config.evidence == "looks":
        governance = governance.model_copy(update={"evidence": ("looks",)})
    skipped, rows = SkippedImages(), list[dict[str, Any]]()
    with (
        atomic_folder(out, overwrite=overwrite) as folder,
        tempfile.TemporaryDirectory(dir=folder) as scratch_name,
    ):
        scratch = Path(scratch_name)
        cache = scratch / "cache"
        looks = _looks(features, item_table, query_table, config, cache, skipped, reporter)
        training = None
        if train and has_val and log is not None and photo_truth is not None:
            training = QuickTraining(
                item_table,
                query_table,
                val,
                photo_truth,
                config.model,
                epochs=config.epochs,
                max_bad_images=config.max_bad_images,
                cache=cache,
                reporter=reporter,
            )

        def categorized(settings: GovernanceConfig) -> Categories:
            return categorize_log(
                item_table,
                query_table,
                log,
                looks,
                settings,
                hold_out=False,
                previous=None,
                skipped=skipped,
            )

        points = sweep_points(
            config.methods, config.radii, config.clusters_shares, config.kmeans_radius
        )
        for number, point in enumerate(points, 1):
            found = categorized(point.of(governance))
            row = measure_ids(found, item_table, products)
            row |= _identical(training, found, scratch / f"training {number}")
            rows.append(_row(point, row))
            reporter.say(f"{number} of {len(points)}: {_told(rows[-1])}")
        data = {
            "evidence": list(governance.evidence),
            "items": len(item_table),
            "products": None if products is None else len(np.unique(products[products >= 0])),
            "true_ids_per_item": None if products is None else _true_share(products),
            "photos": len(query_table),
            "validation_photos": None if training is None else training.photos,
            "epochs": None if training is None else config.epochs,
            "simulated": log is not None and log.simulated,
            "points": rows,
        }
        write_table(pa.Table.from_pylist(rows, _SCHEMA), folder / "sweep.parquet")
        (folder / "sweep.json").write_text(json.dumps(to_json(data), indent=2) + "\n")
        write_sweep_page(folder / "sweep.html", data, command)
        inputs = {"items": items, "queries": queries, "exposures": exposures, "truth": truth}
        write_run_record(folder, "categories sweep", config, {**inputs, "features": features})
    return CommandResult({**data, "out": str(out)}, _view(data, out))


def _looks(
    features: Path | None,
    items: Items,
    queries: Queries,
    config: SweepConfig,
    cache: Path,
    skipped: SkippedImages,
    reporter: Reporter,
) -> Looks:
    if features is not None:
        return looks_of(read_eye_features(features), items, queries, str(features))
    eye = open_eye(None, config.model)
    vectors = compute_features(eye, items, queries, cache, skipped, reporter)
    skipped.check(len(items.pictures()) + len(queries), config.max_bad_images)
    return looks_of(vectors, items, queries, config.model.image_encoder)


def _product_codes(truth: Path, items: Items) -> NDArray[np.int64]:
    """(items,) the product of each by number, -1 where not known."""
    products = read_products(truth)
    rows = index_of(products.table["item_id"], items.table["item_id"])
    if not (rows >= 0).any():
        raise InputError(
            f"{products.path}: none of its {len(products):,} item ids is in {items.path}",
            "Is it of another catalogue?",
        )
    codes = np.full(len(items), -1, np.int64)
    codes[rows[rows >= 0]] = codes_of(products.table["product_id"])[rows >= 0]
    return codes


def _true_share(products: NDArray[np.int64]) -> float:
    """IDs for each item if every ID were one product."""
    known = products[products >= 0]
    return len(np.unique(known)) / len(known)


def _identical(
    training: QuickTraining | None, found: Categories, folder: Path
) -> dict[str, float | None]:
    estimate = None if training is None else training.identical_at_1(found, folder)
    return {
        "identical_at_1": None if estimate is None else estimate["value"],
        "identical_at_1_low": None if estimate is None else estimate["low"],
        "identical_at_1_high": None if estimate is None else estimate["high"],
    }


def _row(point: SweepPoint, measures: dict[str, Any]) -> dict[str, Any]:
    row = {
        "method": point.method,
        "radius": point.radius,
        "clusters_share": point.clusters_share,
        **measures,
    }
    # Not-a-number is what a measure of nothing is: precision where no ID has two items.
    return {
        name: (round(value, 6) if math.isfinite(value) else None)
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }


def _setting(row: dict[str, Any]) -> str:
    share = row["clusters_share"]
    return f"radius {row['radius']:g}" if share is None else f"share {share:g}"


def _told(row: dict[str, Any]) -> str:
    text = f"{row['method']}, {_setting(row)}: {row['category_ids']:,} IDs"
    for name, words in (("bcubed_f1", "B-cubed F1"), ("identical_at_1", "Identical@1")):
        if row[name] is not None:
            text += f", {words} {row[name]:.4f}"
    return text


_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("IDs", "category_ids", "{:,}".format),
    ("an item", "ids_per_item", "{:.3f}".format),
    ("purity", "estimated_purity", "{:.3f}".format),
    ("prec.", "pair_precision", "{:.3f}".format),
    ("recall", "pair_recall", "{:.3f}".format),
    ("B-cubed", "bcubed_f1", "{:.3f}".format),
    ("Identical @1", "identical_at_1", "{:.3f}".format),
)


def _view(data: dict[str, Any], out: Path) -> Table:
    table = Table(
        title=f"{data['items']:,} items, merged by {', '.join(data['evidence'])}",
        caption=(
            "purity as estimated, precision and recall of pairs, F1 of B-cubed\n"
            f"plots: {out / 'sweep.html'}"
        ),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("clustering", no_wrap=True)
    shown = [c for c in _COLUMNS if any(row[c[1]] is not None for row in data["points"])]
    for heading, _, _ in shown:
        table.add_column(heading, justify="right")
    for row in data["points"]:
        cells = ["" if row[key] is None else form(row[key]) for _, key, form in shown]
        table.add_row(f"{row['method']}, {_setting(row)}", *cells)
    return table
