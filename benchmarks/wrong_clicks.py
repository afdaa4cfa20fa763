"""What wrong clicks cost: training on governed IDs, on clicks as they are, and on the true labels.

Encoders are frozen and see each picture once; proxies and heads are learned from the same start each time. Nothing is
chosen by the photos that are measured on. The second round looks with what was learned in the first. The logs are
simulated.

    python benchmarks/wrong_clicks.py --data FOLDER [--split test] [--wrong 0.4 ...] [--seeds 3] [--work DIR]
        [--quick] [--json]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_figures, run_benchmark
from rich.console import Console
from rich.table import Table

from oclear.commands.categories.quick_training import QuickTraining
from oclear.commands.embed import EmbedConfig, embed
from oclear.commands.shared.features import looks_of, read_eye_features
from oclear.datasets import SimulationConfig, simulate_exposures
from oclear.governance import (
    Categories,
    GovernanceConfig,
    Looks,
    categorize_log,
    categorize_truth,
)
from oclear.governance.assign import Memberships
from oclear.governance.clicks import click_support
from oclear.governance.grouping import ItemGroups
from oclear.governance.merge import Merge
from oclear.governance.samples import Decisions, assemble
from oclear.model import ModelConfig
from oclear.progress import Reporter
from oclear.tables import (
    Exposures,
    Items,
    Queries,
    SkippedImages,
    Truth,
    need_truth,
    read_exposures,
    read_items,
    read_queries,
    write_table,
)

WRONG = (0.0, 0.2, 0.4, 0.6)


def clicks_as_they_are(items: Items, queries: Queries, log: Exposures, looks: Looks) -> Categories:
    """Every item is an ID, every clicked photo a sample of what was clicked: today's practice."""
    clicks = click_support(log, queries, items)
    pairs = clicks.matrix.tocoo()
    memberships = Memberships(
        pairs.row.astype(np.int64),
        pairs.col.astype(np.int64),
        np.ones(pairs.nnz, np.float32),
        np.full(pairs.nnz, "click", object),
        {},
    )
    alone = Merge(np.arange(len(items)))
    groups = ItemGroups(alone, [], [], None, np.ones(len(items), np.float32))
    decisions = Decisions(items, queries, groups, memberships, looks, clicks)
    rows = np.arange(len(items))
    return assemble(decisions, rows, GovernanceConfig(), None, None, {"labels": "clicks"})


def right_labels(
    found: Categories, items: Items, queries: Queries, truth: Truth
) -> dict[str, float]:
    """Share of the training photos with an ID, and of these memberships those with a true item."""
    samples = found.samples.to_pydict()
    of_item: dict[str, set[int]] = {}
    photos: list[tuple[str, int]] = []
    for side, key, category in zip(
        samples["side"], samples["key"], samples["category_id"], strict=True
    ):
        if side == "document":
            of_item.setdefault(key, set()).add(category)
        else:
            photos.append((key, category))
    indptr, rows = truth.pairs_for(queries, items)
    true_ids = {
        query: set().union(*(of_item.get(items.ids[r], set()) for r in rows[a:b]))
        for query, a, b in zip(queries.ids.tolist(), indptr[:-1], indptr[1:], strict=True)
    }
    right = sum(category in true_ids[key] for key, category in photos)
    return {
        "photos_in": len({key for key, _ in photos}) / len(queries),
        "labels_right": right / max(1, len(photos)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with true items")
    parser.add_argument("--split", default="test", help="photos measured on")
    parser.add_argument(
        "--wrong", type=float, nargs="+", default=WRONG, help="shares of wrong clicks"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of log and training")
    parser.add_argument("--epochs", type=float, default=30)
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--quick", action="store_true", help="one seed, 40 %% wrong clicks only")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seeds, shares = (1, (0.4,)) if arguments.quick else (arguments.seeds, arguments.wrong)
    truth = need_truth(arguments.data, "This benchmark measures against the true items.")
    work = arguments.work / f"wrong-clicks-{arguments.data.name}"
    work.mkdir(parents=True, exist_ok=True)
    reporter = Reporter()

    items, everything = read_items(arguments.data), read_queries(arguments.data)
    queries, photos = everything.split("train"), everything.split(arguments.split)
    if not (work / "features").is_dir():
        embed(
            "mobilenet_v2",
            arguments.data,
            arguments.data,
            work / "features",
            EmbedConfig(),
            reporter,
        )
    looks = looks_of(read_eye_features(work / "features"), items, queries, "features")
    training = QuickTraining(
        items,
        queries,
        photos,
        truth,
        ModelConfig(),
        epochs=arguments.epochs,
        max_bad_images=0.05,
        cache=work / "cache",
        reporter=reporter,
    )

    rows: dict[str, dict[str, list[float]]] = {}
    config = GovernanceConfig()
    with tempfile.TemporaryDirectory(dir=work) as scratch:

        def learn(name: str, found: Categories, seed: int) -> None:
            score = training.identical_at_1(found, Path(scratch) / "training", seed)
            assert score is not None
            row = rows.setdefault(name, {"identical@1": [], "photos_in": [], "labels_right": []})
            row["identical@1"].append(score["value"])
            for label, value in right_labels(found, items, queries, truth).items():
                row[label].append(value)
            reporter.say(f"{name}, seed {seed}: Identical@1 {score['value']:.4f}")

        for seed in range(seeds):
            true = categorize_truth(items, queries, truth, looks, config, previous=None)
            learn("true labels", true, seed)
            for wrong in shares:
                log = Path(scratch) / f"log-{wrong}-{seed}.parquet"
                visitors = SimulationConfig(wrong=wrong, seed=seed)
                write_table(simulate_exposures(items, everything, truth, visitors), log)
                exposures = read_exposures(log, items, queries)
                govern = partial(
                    categorize_log,
                    items,
                    queries,
                    exposures,
                    config=config,
                    hold_out=False,
                    previous=None,
                    skipped=SkippedImages(),
                )
                noise = f"{100 * wrong:.0f} % wrong"
                learn(f"governed, {noise}", govern(looks), seed)
                again = training.looks(looks.texts)
                learn(f"governed, second round, {noise}", govern(again), seed)
                as_they_are = clicks_as_they_are(items, queries, exposures, looks)
                learn(f"clicks as they are, {noise}", as_they_are, seed)

    table = Table(title=f"{arguments.data.name}, split {arguments.split} (simulated logs)")
    table.add_column("learned from")
    for column in ("Identical@1", "per seed", "photos in", "labels right"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        table.add_row(
            name,
            f"{np.mean(row['identical@1']):.4f}",
            " ".join(f"{x:.3f}" for x in row["identical@1"]),
            f"{np.mean(row['photos_in']):.3f}",
            f"{np.mean(row['labels_right']):.3f}",
        )
    Console(stderr=True, width=120).print(table)
    figures: dict[str, Any] = {"photos": training.photos, "table": rows}
    if 0.4 in shares:
        best = np.mean(rows["true labels"]["identical@1"])
        for name, arm in (
            ("lost_at_40", "governed"),
            ("lost_at_40_second_round", "governed, second round"),
        ):
            figures[name] = float(best - np.mean(rows[f"{arm}, 40 % wrong"]["identical@1"]))
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    run_benchmark(main)
