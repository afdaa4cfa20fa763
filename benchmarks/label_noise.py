"""Which clicks are wrong? Governance's belief in them against the label-noise estimate of ``cleanlab``.

A photo's label is the category ID of what it clicked. Both judge the same labels of the same photos by the same
features of a frozen encoder, neither sees the truth:

- ``cleanlab``: confident learning (Northcutt et al., 2021) on out-of-sample probabilities of a logistic regression in
  five folds; the documents of each ID, whose labels are right, help it to learn in every fold.
- ``governance``: the belief in the clicked ID by looks and clicks; ``with lists`` also by the result lists, as
  ``categorize`` does, for which cleanlab has no place.

Measured on photos that clicked one ID, of IDs that at least five of them clicked: AUROC and average precision of
finding the wrong clicks, the estimated share of wrong ones, and the mean error of that share by ID, of IDs with ten
photos and more. Logs are simulated.

    python benchmarks/label_noise.py --data FOLDER [--features DIR] [--seeds 3] [--work DIR] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from _report import print_figures, run_benchmark
from cleanlab.count import estimate_joint
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from oclear.commands.embed import EmbedConfig, embed
from oclear.commands.shared.features import looks_of, read_eye_features
from oclear.datasets import SimulationConfig, simulate_exposures
from oclear.governance import GovernanceConfig, Looks
from oclear.governance.assign import shown_items
from oclear.governance.assign.queries import believe
from oclear.governance.catalogue import catalogue_evidence
from oclear.governance.clicks import click_support
from oclear.governance.grouping import group_items
from oclear.progress import Reporter
from oclear.tables import (
    SkippedImages,
    need_truth,
    read_exposures,
    read_items,
    read_queries,
    write_table,
)

WRONG = (0.2, 0.4, 0.6)
LEAST_PHOTOS, PHOTOS_TO_COMPARE = 5, 10
FOLDS = 5
# Vectors have length one; scaled up, so that the regression's usual penalty leaves room to learn.
SCALE = 10.0
Figures = dict[str, float]


def out_of_sample(
    photos: NDArray[np.float32],
    labels: NDArray[np.int64],
    documents: NDArray[np.float32],
    document_labels: NDArray[np.int64],
) -> NDArray[np.float64]:
    """(photos, classes) probabilities of each photo by a model that did not learn from it."""
    # Shop pictures differ from visitors' photos as a whole: each side less its mean, as governance has it.
    photos, documents = (SCALE * (side - side.mean(axis=0)) for side in (photos, documents))
    found = np.zeros((len(photos), int(labels.max()) + 1))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for learned, asked in folds.split(photos, labels):
        model = LogisticRegression(max_iter=300).fit(
            np.concatenate([photos[learned], documents]),
            np.concatenate([labels[learned], document_labels]),
        )
        found[asked] = model.predict_proba(photos[asked])
    return found


def compare(
    quality: NDArray[np.float64],
    wrong_share: float,
    by_id: NDArray[np.float64],
    is_wrong: NDArray[np.bool_],
    labels: NDArray[np.int64],
) -> Figures:
    """How well a method's quality of labels (photos,), and its wrong shares, agree with the truth."""
    sizes = np.bincount(labels)
    true = np.bincount(labels, is_wrong) / sizes
    large = sizes >= PHOTOS_TO_COMPARE
    return {
        "auroc": float(roc_auc_score(is_wrong, -quality)),
        "average_precision": float(average_precision_score(is_wrong, -quality)),
        "wrong_share": wrong_share,
        "wrong_share_is": float(is_wrong.mean()),
        "error_by_id": float(np.abs(by_id - true)[large].mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder with true items")
    parser.add_argument("--features", type=Path, help="of 'oclear embed'; made where not given")
    parser.add_argument("--seeds", type=int, default=3, help="logs of each share")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--quick", action="store_true", help="one log, 40 %% wrong clicks only")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seeds, shares = (1, (0.4,)) if arguments.quick else (arguments.seeds, WRONG)
    data, features = arguments.data, arguments.features
    truth = need_truth(data, "This benchmark measures against the true items.")
    if features is None:
        features = arguments.work / f"label-noise-{data.name}" / "features"
        if not features.is_dir():
            embed("mobilenet_v2", data, data, features, EmbedConfig(), Reporter())

    everything, items = read_queries(data), read_items(data)
    queries = everything.split("train")
    looks = looks_of(read_eye_features(features), items, queries, "features")
    config = GovernanceConfig()
    catalogue = catalogue_evidence(items, looks, config, SkippedImages())
    # Items are merged without clicks, so that the labels of every log are of the same IDs.
    group = group_items(items, looks, catalogue, [], None, config).merge.group
    indptr, rows = truth.pairs_for(queries, items)
    photo = np.repeat(np.arange(len(queries)), np.diff(indptr))
    shows = set(zip(photo.tolist(), group[rows].tolist(), strict=True))

    found: dict[str, dict[str, list[Figures]]] = {}
    for wrong in shares:
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as scratch:
                log = Path(scratch) / "log.parquet"
                visitors = SimulationConfig(wrong=wrong, seed=seed)
                write_table(simulate_exposures(items, everything, truth, visitors), log)
                exposures = read_exposures(log, items, queries)
            clicks = click_support(exposures, queries, items)
            lists = shown_items(exposures, queries, items)
            for method, figures in measure(clicks.matrix, lists, group, looks, shows).items():
                found.setdefault(f"{100 * wrong:.0f} % wrong", {}).setdefault(method, []).append(
                    figures
                )

    means = {
        log: {
            method: {name: float(np.mean([f[name] for f in each])) for name in each[0]}
            for method, each in methods.items()
        }
        for log, methods in found.items()
    }
    show(means, data.name)
    print_figures({"table": means, "seeds": seeds}, arguments.json)


def measure(
    clicks: csr_matrix,
    lists: csr_matrix,
    group: NDArray[np.int64],
    looks: Looks,
    shows: set[tuple[int, int]],
) -> dict[str, Figures]:
    """Every method on one log."""
    with_looks, with_lists = (believe(clicks, group, looks, shown=s) for s in (None, lists))
    own = with_looks.behaviour.behaviour.own
    one = np.flatnonzero((np.diff(own.indptr) == 1) & looks.queries.any(axis=1))
    clicked = own.indices[own.indptr[one]]
    often = np.bincount(clicked, minlength=int(group.max()) + 1) >= LEAST_PHOTOS
    photos, ids = one[often[clicked]], clicked[often[clicked]]
    kept, labels = np.unique(ids, return_inverse=True)
    is_wrong = np.array(
        [pair not in shows for pair in zip(photos.tolist(), ids.tolist(), strict=True)]
    )

    documents = np.flatnonzero(np.isin(group, kept) & looks.items.any(axis=1))
    probabilities = out_of_sample(
        looks.queries[photos],
        labels,
        looks.items[documents],
        np.searchsorted(kept, group[documents]),
    )
    joint = estimate_joint(labels, probabilities)
    found = {
        "cleanlab": compare(
            get_label_quality_scores(labels, probabilities),
            1 - float(np.trace(joint)),
            1 - np.diag(joint) / joint.sum(axis=1),
            is_wrong,
            labels,
        )
    }
    for name, beliefs in (("governance", with_looks), ("governance with lists", with_lists)):
        quality = beliefs.in_clicks()[photos]
        by_id = 1 - np.bincount(labels, quality) / np.bincount(labels)
        found[name] = compare(quality, 1 - float(quality.mean()), by_id, is_wrong, labels)
    photos_of = {"photos": float(len(photos)), "ids": float(len(kept))}
    return {method: figures | photos_of for method, figures in found.items()}


def show(means: dict[str, dict[str, Figures]], name: str) -> None:
    table = Table(title=f"{name} (simulated logs)")
    table.add_column("log")
    table.add_column("method")
    names = list(next(iter(next(iter(means.values())).values())))
    for column in names:
        table.add_column(column.replace("_", " "), justify="right")
    for log, methods in means.items():
        for method, figures in methods.items():
            cells = (
                f"{figures[n]:,.0f}" if n in ("photos", "ids") else f"{figures[n]:.4f}"
                for n in names
            )
            table.add_row(log, method, *cells)
    Console(stderr=True, width=140).print(table)


if __name__ == "__main__":
    run_benchmark(main)
