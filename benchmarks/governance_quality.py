"""Category IDs against the truth on a generated shop: each kind of evidence alone, in pairs, and together.

The shop and its logs are made by code, once, and kept in ``--work``; their fingerprint is checked against the frozen
one. The logs are simulated, and so is the shop. Items are merged by governance, photos are left aside.

    python benchmarks/governance_quality.py [--quick] [--work DIR] [--json]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from _report import print_figures
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from oclear.commands.embed import EmbedConfig, embed
from oclear.commands.shared.features import looks_of, read_eye_features
from oclear.datasets import SimulationConfig, simulate_exposures
from oclear.datasets.shop import ShopConfig, generate_shop
from oclear.governance import GovernanceConfig, Looks
from oclear.governance.catalogue import CatalogueEvidence, catalogue_evidence
from oclear.governance.clicks import Clicks, click_support
from oclear.governance.evidence.co_clicks import behaviour_edges
from oclear.governance.grouping import group_items
from oclear.governance.quality import item_quality
from oclear.progress import Reporter
from oclear.runtime import prepare_process
from oclear.tables import (
    Items,
    Queries,
    SkippedImages,
    need_truth,
    read_exposures,
    read_items,
    read_queries,
    write_table,
)

SHOP = ShopConfig(
    products=20_000,
    twins=0.3,
    sellers_mean=2.5,
    sellers_max=6,
    second_picture=0.2,
    barcodes=0.19,
    photos_mean=2.0,
    photos_max=60,
    photos_exponent=0.9,
    unseen=0.0,
    val=0.03,
    test=0.07,
    picture_size=160,
    seed=3,
)
WRONG = (0.2, 0.4)
Quality = dict[str, float | None]
# Of the tables and logs that the measured figures are of.
FROZEN = {20_000: "5892031465476d7f", 2_000: "77ee00c295557f03"}
ARMS: tuple[tuple[str, ...], ...] = (
    ("identity",),
    ("behaviour",),
    ("looks",),
    ("identity", "behaviour"),
    ("identity", "looks"),
    ("looks", "behaviour"),
    ("identity", "looks", "behaviour"),
)


def make_set(work: Path, shop: ShopConfig, reporter: Reporter) -> None:
    """The shop, its logs and its features, each made where it is not there yet."""
    if not (work / "shop").is_dir():
        reporter.say(f"drawing {shop.products:,} products")
        generate_shop(work / "shop", shop)
    items, queries = read_items(work / "shop"), read_queries(work / "shop")
    truth = need_truth(work / "shop", "The shop is generated with it.")
    for wrong in WRONG:
        log = work / f"log_{wrong}.parquet"
        if not log.is_file():
            visitors = SimulationConfig(
                clicks=1.2, wrong=wrong, unexposed=0.5, popularity=1.1, seed=shop.seed
            )
            write_table(simulate_exposures(items, queries, truth, visitors), log)
    if not (work / "features").is_dir():
        where = work / "shop"
        embed("mobilenet_v2", where, where, work / "features", EmbedConfig(), reporter)


def fingerprint(work: Path) -> str:
    """Hash of the contents of tables and logs, 16 hex digits."""
    digest = hashlib.sha256()
    files = [work / "shop" / f"{name}.parquet" for name in ("items", "queries", "products")]
    for path in [*files, *(work / f"log_{wrong}.parquet" for wrong in WRONG)]:
        digest.update(repr(pq.read_table(path).replace_schema_metadata().to_pydict()).encode())
    return digest.hexdigest()[:16]


def only(kinds: tuple[str, ...], catalogue: CatalogueEvidence) -> CatalogueEvidence:
    """The evidence of some kinds; without identity neither keys nor attributes are known."""
    says_itself = "identity" in kinds
    return replace(
        catalogue,
        proofs=catalogue.proofs if says_itself else [],
        hints=[
            edges
            for edges in catalogue.hints
            if (edges.kind == "looks" and "looks" in kinds)
            or (edges.kind != "looks" and says_itself)
        ],
        keys=catalogue.keys if says_itself else [],
        forbidden=catalogue.forbidden if says_itself else [],
        attributes=catalogue.attributes if says_itself else (),
        text_columns=catalogue.text_columns if says_itself else (),
    )


def clicks_as_labels(clicks: Clicks) -> NDArray[np.int64]:
    """(items,) items clicked for one photo are one thing: what learning from clicks takes for granted."""
    log = clicks.matrix.tocoo()
    photos, items = clicks.matrix.shape
    graph = coo_matrix((np.ones(log.nnz), (log.col, items + log.row)), (items + photos,) * 2)
    labels: NDArray[np.int64] = connected_components(graph, directed=False)[1][:items]
    return labels


def measure(
    work: Path,
    wrong: float,
    catalogue: CatalogueEvidence,
    items: Items,
    queries: Queries,
    looks: Looks,
) -> dict[str, Quality]:
    """Quality of every arm on one log, all items and those never exposed."""
    log = read_exposures(work / f"log_{wrong}.parquet", items, queries)
    products = pq.read_table(work / "shop" / "products.parquet")
    of_item = dict(zip(*(products[c].to_pylist() for c in ("item_id", "product_id")), strict=True))
    truth = np.unique([of_item[i] for i in items.ids], return_inverse=True)[1]
    shown = set(log.table["item_id"].to_pylist())
    never = np.array([i not in shown for i in items.ids.tolist()])
    clicks = click_support(log, queries, items)

    found: dict[str, Quality] = {}
    labels = clicks_as_labels(clicks)
    found["clicks as labels"] = quality(labels, truth, never, 0.0)
    for kinds in ARMS:
        start = time.perf_counter()
        config = GovernanceConfig(evidence=kinds)  # type: ignore[arg-type]
        behaviour = []
        if "behaviour" in kinds:
            behaviour = [
                behaviour_edges(
                    clicks,
                    looks,
                    query_gate=config.photo_gate,
                    item_gate=config.behaviour_gate if "looks" in kinds else -1.0,
                    least_queries=config.behaviour_queries,
                )
            ]
        groups = group_items(items, looks, only(kinds, catalogue), behaviour, clicks, config)
        seconds = time.perf_counter() - start
        found[" + ".join(kinds)] = quality(groups.merge.group, truth, never, seconds)
    return found


def quality(
    group: NDArray[np.int64], truth: NDArray[np.int64], never: NDArray[np.bool_], seconds: float
) -> Quality:
    everything, hidden = item_quality(group, truth), item_quality(group, truth, never)
    names = ("pair_precision", "pair_recall", "bcubed_macro_precision", "bcubed_macro_recall")
    found = {name: everything[name] for name in names}
    found |= {f"never_exposed_{name}": hidden[name] for name in names}
    # No precision where no pair was merged.
    told = {name: None if np.isnan(value) else value for name, value in found.items()}
    return told | {"seconds": seconds}


def show(wrong: float, found: dict[str, Quality]) -> None:
    table = Table(title=f"{100 * wrong:.0f} % wrong clicks (simulated log, generated shop)")
    names = list(next(iter(found.values())))
    table.add_column("evidence")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for arm, values in found.items():
        table.add_row(
            arm,
            *("-" if values[name] is None else f"{values[name]:.4f}" for name in names[:-1]),
            f"{values['seconds']:.0f}",
        )
    Console(stderr=True, width=170).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2,000 products")
    parser.add_argument(
        "--work", type=Path, default=Path("benchmark-data"), help="where the set is kept"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    shop = SHOP.model_copy(update={"products": 2_000}) if arguments.quick else SHOP
    work = arguments.work / f"governance-{shop.products}"
    work.mkdir(parents=True, exist_ok=True)
    reporter = Reporter()
    make_set(work, shop, reporter)
    if (is_ := fingerprint(work)) != FROZEN[shop.products]:
        sys.exit(f"{work}: fingerprint {is_}, not the frozen {FROZEN[shop.products]}: another set")

    items = read_items(work / "shop")
    queries = read_queries(work / "shop").split("train")
    looks = looks_of(read_eye_features(work / "features"), items, queries, "features")
    catalogue = catalogue_evidence(items, looks, GovernanceConfig(), SkippedImages())
    figures: dict[str, float | dict[str, Quality]] = {}
    for wrong in WRONG:
        found = measure(work, wrong, catalogue, items, queries, looks)
        show(wrong, found)
        whole = found[" + ".join(ARMS[-1])]
        percent = round(100 * wrong)
        figures[f"pair_precision_{percent}"] = whole["pair_precision"]
        figures[f"pair_recall_{percent}"] = whole["pair_recall"]
        figures[f"table_{percent}"] = found
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    prepare_process()
    main()
