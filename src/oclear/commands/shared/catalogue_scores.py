"""Scores of photos whose item is in the index, and of photos whose item is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from oclear.commands.shared.photos import open_index
from oclear.errors import InputError
from oclear.evaluation import rank
from oclear.evaluation.measures import Estimate
from oclear.evaluation.rejection import (
    ANSWERED,
    auroc,
    calibration_error,
    false_answers,
    scores_without_truth,
    with_interval,
)
from oclear.model.encode import encode_queries
from oclear.progress import Reporter
from oclear.store.confidence import DEPTH, Confidence
from oclear.tables import SkippedImages, read_queries

if TYPE_CHECKING:
    from oclear.commands.evaluate import Evaluation

_FALSE = f"false_answers@{ANSWERED:.0%}"


@dataclass(frozen=True, eq=False)
class CatalogueScores:
    """Scores of the first hits, best first, ``-inf`` where there are fewer.

    Args:
        present: (P, DEPTH) of photos that have a true item in the index.
        left_out: (P, DEPTH) of the same photos, had their true items been left out of it.
        groups: (P,) the first true item of each.
        outside: (A, DEPTH) of photos of things that the shop does not sell, or None.
    """

    present: NDArray[np.float32]
    left_out: NDArray[np.float32]
    groups: NDArray[np.int64]
    outside: NDArray[np.float32] | None


def catalogue_scores(
    found: Evaluation, outside_vectors: NDArray[np.float32] | None
) -> CatalogueScores:
    """Ranks the gallery for photos with and without their true items.

    Args:
        found: An evaluation of photos with known true items.
        outside_vectors: (A, dim) of photos of things that the shop does not sell.

    Raises:
        InputError: No photo that could be read has a true item in the index.
    """
    counts = np.diff(found.indptr)
    query = np.repeat(np.arange(len(counts)), counts)
    held = np.unique(query[found.item_rows >= 0])
    usable = held[found.vectors[held].any(axis=1)]
    if not len(usable):
        raise InputError(f"{found.queries.path}: no photo has a true item that is in the index")
    first_true = np.full(len(counts), -1, np.int64)
    np.maximum.at(first_true, query, found.item_rows)
    deep = rank(
        *(found.vectors, found.document_vectors, found.document_item),
        k=DEPTH + int(counts.max()),
    )
    left = scores_without_truth(deep, found.indptr, found.item_rows)
    outside = None
    if outside_vectors is not None:
        documents = (found.document_vectors, found.document_item)
        outside = rank(outside_vectors, *documents, k=DEPTH).scores
    return CatalogueScores(
        deep.scores[usable, :DEPTH], left[usable, :DEPTH], first_true[usable], outside
    )


def encode_outside(
    index: Path,
    absent: Path,
    split: str,
    model: str | None,
    max_bad_images: float,
    reporter: Reporter,
) -> NDArray[np.float32]:
    """Embeds photos of things that the shop does not sell, (A, dim).

    Args:
        index: Whose model.
        absent: A table of photos.
        split: Which of them; all where the table has no column ``split``.
        model: The model, where the index's own copy is not to be used.
        max_bad_images: Share that may be bad.
        reporter: Says what happens.

    Raises:
        InputError: None is of that split, or too many are bad.
    """
    table = read_queries(absent)
    photos = table.split(split) if "split" in table.table.column_names else table
    if not len(photos):
        names = ", ".join(sorted(set(table.splits.astype(str))))
        raise InputError(f"{absent}: no photo has split = '{split}'", f"There are: {names}.")
    _, loaded = open_index(index, model)
    skipped = SkippedImages()
    with reporter.task("photos of other things", len(photos)) as task:
        _, vectors = encode_queries(loaded, photos.pictures(), skipped, task.advance)
    skipped.check(len(photos), max_bad_images)
    return vectors


def rejection_figures(scores: CatalogueScores, confidence: Confidence) -> dict[str, Any]:
    """How well a calibrated index tells photos of things that it has not: by place they come from, as JSON."""
    present = confidence.probability(scores.present)
    kinds = {"left_out": (scores.left_out, True)}
    if scores.outside is not None:
        kinds["absent"] = (scores.outside, False)
    figures: dict[str, Any] = {
        "signals": list(confidence.signals),
        "threshold": round(confidence.threshold, 6),
        "answered": round(float((present >= confidence.threshold).mean()), 6),
    }
    for name, (others, paired) in kinds.items():
        absent = confidence.probability(others)
        figures[name] = {
            "photos": len(absent),
            "auroc": _rounded(with_interval(auroc, present, absent, paired=paired)),
            _FALSE: _rounded(with_interval(false_answers, present, absent, paired=paired)),
            "false_answers_at_threshold": round(float((absent >= confidence.threshold).mean()), 6),
            "calibration_error": round(calibration_error(present, absent, confidence.absent), 6),
        }
    return figures


def rejection_table(figures: dict[str, Any]) -> Table:
    """The figures for people; intervals where there are any."""
    names = {"left_out": "item left out of the index", "absent": "not sold here"}
    table = Table(
        title=f"in the catalogue or not, by {' + '.join(figures['signals'])}; "
        f"of the photos of things in it {figures['answered']:.1%} are answered",
        title_justify="left",
    )
    table.add_column("photos")
    for name in ("value", "95 % interval"):
        table.add_column(name, justify="right")
    for kind in (kind for kind in names if kind in figures):
        found = figures[kind]
        table.add_section()
        table.add_row(f"{names[kind]}: {found['photos']:,} photos", "", "")
        shown = {"AUROC": "auroc", f"answered where {ANSWERED:.0%} of the others are": _FALSE}
        for name, key in shown.items():
            estimate = found[key]
            interval = f"{estimate['low']:.4f} to {estimate['high']:.4f}"
            table.add_row(f"  {name}", f"{estimate['value']:.4f}", interval)
        table.add_row("  answered at the threshold", f"{found['false_answers_at_threshold']:.4f}")
        table.add_row("  calibration error", f"{found['calibration_error']:.4f}")
    return table


def _rounded(estimate: Estimate) -> dict[str, float]:
    return {
        "value": round(estimate["value"], 6),
        "low": round(estimate["low"], 6),
        "high": round(estimate["high"], 6),
    }
