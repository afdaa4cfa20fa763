"""``oclear categories evaluate``: how good are the category IDs, where the truth is known?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group
from rich.table import Table

from oclear.commands.categories.inputs import (
    Found,
    PhotoLabels,
    count_exposures,
    photo_labels,
    read_found,
    read_product_codes,
)
from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.evaluation.groups import popularity_groups
from oclear.governance.quality import coverage, gini, id_sizes, item_quality, label_purity
from oclear.progress import Reporter
from oclear.tables import read_queries, read_truth

# Measures that are numbers of things, not shares.
_COUNTS = ("largest",)


def evaluate(
    categories: Path,
    items: Path | None,
    truth: Path | None,
    queries: Path | None,
    exposures: Path | None,
    reporter: Reporter,
) -> CommandResult:
    """Measures a categorize folder against the true products of items, the true items of photos, or both.

    Args:
        categories: The folder of ``oclear categorize``.
        items: The catalogue; its items that are in no ID then count as left out, and not as unknown.
        truth: A table of ``item_id`` and ``product_id``, for the measures on items.
        queries: The photos; with their true items in it, or in ``truth.parquet`` beside it, labels are judged.
        exposures: The log: the same measures for items never shown in it, and for its head, middle and tail.
        reporter: Says what happens.

    Raises:
        InputError: Nothing to judge by, or nothing in common with the folder.
        TableError: A wrong table.
    """
    if truth is None and queries is None:
        raise InputError(
            "nothing to judge by: give --truth, --queries, or both",
            "--truth has item_id and product_id; --queries has the true items of photos.",
        )
    found = read_found(categories, items)
    products, unknown = None, 0
    if truth is not None:
        products, unknown = read_product_codes(found, truth)
    labels = _labels(found, queries, needs_truth=truth is None)
    data: dict[str, Any] = {
        "categories": str(categories),
        "items": len(found.item_ids),
        "items_in_no_id": int((found.item_category < 0).sum()),
        "category_ids": len(np.unique(found.item_category[found.item_category >= 0])),
        "truth": None,
        "queries": None,
        "exposures": None,
        "measures": _measures(found, products, None),
        "groups": {},
    }
    if products is not None:
        known = products >= 0
        data["truth"] = {
            "items": int(known.sum()),
            "products": len(np.unique(products[known])),
            "products_of_several_items": int((np.bincount(products[known]) > 1).sum()),
            "unknown_items": unknown,
        }
        if unknown:
            reporter.say(f"{unknown:,} items of the truth are not in the folder: left out")
    if labels is not None:
        data["queries"], measures = _judge_labels(labels)
        data["measures"] |= measures
        if labels.unknown:
            reporter.say(f"{labels.unknown:,} memberships are of photos not in {queries}: left out")
    if exposures is not None:
        counts, strange, simulated = count_exposures(found, exposures)
        data["exposures"] = {
            "exposures": int(counts.sum()),
            "of_unknown_items": strange,
            "simulated": simulated,
        }
        if strange:
            reporter.say(f"{strange:,} exposures are of items not in the folder: left out")
        # Here with the items never exposed, the end of the tail; as a group they stand apart.
        tail = popularity_groups(counts)["tail"]
        members = found.query_category
        data["measures"]["tail_coverage"] = coverage(found.item_category, members, tail)
        data["groups"] = {
            name: {"items": int(mask.sum()), "measures": _measures(found, products, mask)}
            for name, mask in _groups(counts).items()
            if mask.any()
        }
    return CommandResult(data, _view(data))


def _labels(found: Found, queries: Path | None, *, needs_truth: bool) -> PhotoLabels | None:
    """The photos' labels; photos without any truth are refused where they are all there is to judge by."""
    if queries is None:
        return None
    table, truth = read_queries(queries), read_truth(queries)
    labels = photo_labels(found, table, truth)
    if needs_truth and not np.isin(labels.query, labels.true_query).any():
        raise InputError(
            f"{queries}: the true item of none of the photos in {found.folder} is known",
            "Give their item_id there or in truth.parquet, or the products of items with --truth.",
        )
    return labels


def _groups(exposures: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Items by how often they were shown; the tail is the last tenth of the exposures."""
    masks = popularity_groups(exposures)
    shown = exposures > 0
    return {
        "never_exposed": ~shown,
        "exposed": shown,
        "head": masks["head"],
        "middle": masks["middle"],
        "tail": masks["tail"] & shown,
    }


def _measures(
    found: Found, products: NDArray[np.int64] | None, mask: NDArray[np.bool_] | None
) -> dict[str, float]:
    """Of all items, or of those of a group."""
    category = found.item_category
    measures: dict[str, float] = {}
    if products is not None:
        measures |= item_quality(category, products, mask)
    else:
        sizes = id_sizes(category, mask)
        measures |= {"gini": gini(sizes), "largest": int(sizes.max(initial=0))}
    measures["gini_samples"] = gini(id_sizes(category, mask, found.sample_category))
    measures["coverage"] = coverage(category, found.query_category, mask)
    return measures


def _judge_labels(labels: PhotoLabels) -> tuple[dict[str, int], dict[str, float]]:
    inside = len(np.unique(labels.query))
    purity, judged = label_purity(
        labels.query, labels.category, labels.true_query, labels.true_category
    )
    counts = {
        "queries": labels.photos,
        "queries_in_an_id": inside,
        "memberships": len(labels.query),
        "memberships_judged": judged,
        "memberships_of_unknown_queries": labels.unknown,
    }
    share = inside / labels.photos if labels.photos else float("nan")
    return counts, {"label_purity": purity, "queries_in_an_id": share}


def _view(data: dict[str, Any]) -> Group:
    head = Table(title="Category IDs and the truth", show_header=False, title_justify="left")
    head.add_column(style="bold")
    head.add_column(justify="right")
    head.add_row("items", f"{data['items']:,}")
    if data["items_in_no_id"]:
        head.add_row("  in no ID", f"{data['items_in_no_id']:,}")
    head.add_row("category IDs", f"{data['category_ids']:,}")
    if (truth := data["truth"]) is not None:
        head.add_row("items whose product is known", f"{truth['items']:,}")
        head.add_row("true products", f"{truth['products']:,}")
        head.add_row("  of several items", f"{truth['products_of_several_items']:,}")
        head.add_row("items of the truth not in the folder", f"{truth['unknown_items']:,}")
    if (queries := data["queries"]) is not None:
        head.add_row("training photos", f"{queries['queries']:,}")
        head.add_row("  in an ID", f"{queries['queries_in_an_id']:,}")
        head.add_row("  memberships with known truth", f"{queries['memberships_judged']:,}")
    if (log := data["exposures"]) is not None:
        name = "exposures (simulated log)" if log["simulated"] else "exposures"
        head.add_row(name, f"{log['exposures']:,}")
    columns = {"all": {"items": data["items"], "measures": data["measures"]}, **data["groups"]}
    # Without lines between columns, so that six of them and the names fit into 80 characters.
    table = Table(title="Measures", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure", no_wrap=True)
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    table.add_row("items", *(f"{part['items']:,}" for part in columns.values()))
    # Groups first, as they have the more measures on pairs.
    parts = [*data["groups"].values(), data]
    names = dict.fromkeys(name for part in parts for name in part["measures"])
    for name in names:
        table.add_row(name, *(_cell(name, part["measures"]) for part in columns.values()))
    return Group(head, table)


def _cell(name: str, measures: dict[str, float]) -> str:
    value = measures.get(name, float("nan"))
    if np.isnan(value):
        return "-"
    return f"{value:,}" if name in _COUNTS else f"{value:.4f}"
