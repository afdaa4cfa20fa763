"""``oclear evaluate``: does it find the right product?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group
from rich.table import Table

from oclear.commands.shared.catalogue_scores import (
    catalogue_scores,
    encode_outside,
    rejection_figures,
    rejection_table,
)
from oclear.commands.shared.photos import open_index
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.errors import InputError
from oclear.evaluation import Measures, Ranking, evaluate_ranking, rank, write_trec
from oclear.evaluation.groups import largest_over_truth, popularity_groups
from oclear.evaluation.measures import Estimate
from oclear.model.encode import encode_queries
from oclear.output import atomic_folder, refuse_non_empty
from oclear.progress import Reporter
from oclear.store import active_model
from oclear.store.confidence import read_confidence
from oclear.tables import (
    Items,
    Queries,
    SkippedImages,
    Truth,
    index_of,
    need_truth,
    read_exposures,
    read_queries,
)


class EvaluateConfig(BaseModel):
    """Configuration of ``oclear evaluate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(default=10, ge=10, le=1000, description="where rankings are cut")
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything an evaluation found out.

    Args:
        queries: The photos that have true items.
        items: The gallery, in the order of item ids.
        ranking: Over the gallery; a photo that could not be read has an empty row, and counts as missed.
        indptr: With ``item_rows`` the true items of query i: ``item_rows[indptr[i]:indptr[i + 1]]``.
        item_rows: Rows of ``items``; -1 for a true item that is not in the index.
        measures: Of the ranking.
        skipped: Photos that could not be read.
        vectors: (queries, dim) of the photos, zero where one could not be read.
        document_vectors: (documents, dim).
        document_item: (documents,) rows of ``items``.
    """

    queries: Queries
    items: Items
    ranking: Ranking
    indptr: NDArray[np.int64]
    item_rows: NDArray[np.int64]
    measures: Measures
    skipped: SkippedImages
    vectors: NDArray[np.float32]
    document_vectors: NDArray[np.float32]
    document_item: NDArray[np.int64]

    def score(self, query: int, item: int) -> float:
        """Cosine of a photo and the nearest picture of an item, wherever it is in the ranking."""
        documents = self.document_vectors[self.document_item == item]
        return float((documents @ self.vectors[query]).max())


def evaluate(
    index: Path,
    queries: Path,
    split: str,
    config: EvaluateConfig,
    reporter: Reporter,
    *,
    model: str | None = None,
    exposures: Path | None = None,
    absent: Path | None = None,
    trec: Path | None = None,
    overwrite: bool = False,
) -> CommandResult:
    """Measures an index on photos with known true items.

    Args:
        index: The index folder.
        queries: Photos with their true items.
        split: Which of them.
        config: Cut and limits.
        reporter: Says what happens.
        model: The model that made the index, where its own copy is not to be used.
        exposures: The log that was learned from: measures for head, middle, tail and unclicked items are added.
        absent: Photos of things that the shop does not sell: how many of them a calibrated index answers is added.
        trec: A folder for ``run.trec`` and ``qrels.trec``, from which anyone can recompute the measures.
        overwrite: Replace ``trec``.

    Raises:
        InputError: No photo of this split has a true item; ``absent`` for an index that is not calibrated.
    """
    confidence = read_confidence(index, active_model(index))
    if absent is not None and confidence is None:
        raise InputError(
            f"{index}: does not know how sure it is, so it answers every photo of --absent",
            "Run 'oclear calibrate' first.",
        )
    if trec is not None:
        refuse_overwriting(trec, index, queries, model, exposures)
        if not overwrite:
            refuse_non_empty(trec)
    found = run_evaluation(index, queries, split, config, reporter, model=model)
    if trec is not None:
        with atomic_folder(trec, overwrite=overwrite) as folder:
            write_trec(
                folder,
                found.ranking,
                found.queries.ids.tolist(),
                found.items.ids.tolist(),
                found.indptr,
                found.item_rows,
            )
    summary = found.measures.summary()
    missing = int((found.item_rows < 0).sum())
    if missing:
        reporter.say(
            f"{missing:,} of {len(found.item_rows):,} true items are not in the index, and count as missed"
        )
    groups = {} if exposures is None else _by_clicks(found, exposures, read_queries(queries))
    rejection = None
    if confidence is not None:
        outside = None
        if absent is not None:
            outside = encode_outside(index, absent, split, model, config.max_bad_images, reporter)
        rejection = rejection_figures(catalogue_scores(found, outside), confidence)
    data = {
        "split": split,
        **measures_as_json(summary),
        "queries": found.measures.queries,
        "gallery": found.measures.gallery_size,
        "skipped": len(found.skipped),
        "true_items_not_in_index": missing,
        "groups": {
            name: {"queries": part.queries, **measures_as_json(part.summary())}
            for name, part in groups.items()
        },
        "in_catalogue": rejection,
        "trec": str(trec) if trec is not None else None,
    }
    tables = [measures_table(summary, found.measures, f"split '{split}'")]
    tables += [
        measures_table(part.summary(), part, f"true items in the {name} of the clicks")
        for name, part in groups.items()
    ]
    if rejection is not None:
        tables.append(rejection_table(rejection))
    return CommandResult(data, Group(*tables))


def _by_clicks(found: Evaluation, exposures: Path, queries: Queries) -> dict[str, Measures]:
    """The measures of photos whose true item is in the head, the middle or the tail of the clicks, or has none."""
    log = read_exposures(exposures, found.items, queries).table
    rows = index_of(log.filter(log["clicked"])["item_id"], found.items.table["item_id"])
    clicks = np.bincount(rows[rows >= 0], minlength=len(found.items))
    masks = popularity_groups(clicks)
    masks["tail"] &= clicks > 0
    masks["unclicked"] = clicks == 0
    # A photo of several items belongs to the group of the one that is clicked most.
    best = largest_over_truth(clicks, found.indptr, found.item_rows)
    parts = {}
    for name, mask in masks.items():
        chosen = np.isin(best, np.unique(clicks[mask])) & (best >= 0)
        if chosen.any():
            parts[name] = found.measures.select(chosen)
    return parts


def run_evaluation(
    index: Path,
    queries: Path,
    split: str,
    config: EvaluateConfig,
    reporter: Reporter,
    *,
    model: str | None = None,
) -> Evaluation:
    """Encodes the photos of a split, ranks the gallery for each, and measures."""
    opened, loaded = open_index(index, model)
    all_photos = read_queries(queries)
    truth = need_truth(queries, "Measures need the true items of the photos.")
    photos = all_photos.split(split)
    if not len(photos):
        names = ", ".join(sorted(set(all_photos.splits.astype(str))))
        raise InputError(f"{queries}: no photo has split = '{split}'", f"There are: {names}.")
    items = Items(index, opened.items())
    indptr, item_rows = _true_rows(truth, photos, items)
    known = np.diff(indptr) > 0
    if not known.any():
        raise InputError(
            f"{queries}: no photo of split '{split}' has a true item",
            "Give their item_id in the queries table or in truth.parquet.",
        )
    photos = photos.select(known)
    indptr, item_rows = _true_rows(truth, photos, items)

    skipped = SkippedImages()
    with reporter.task("photos", len(photos)) as task:
        rows, vectors = encode_queries(loaded, photos.pictures(), skipped, task.advance)
    skipped.check(len(photos), config.max_bad_images)
    stored = opened.vectors()
    document_item = index_of(
        pa.chunked_array([pa.array(stored.item_ids, pa.string())]), items.table["item_id"]
    )
    found = rank(vectors, stored.vectors, document_item, config.k)
    ranking = _spread(found, rows, len(photos))
    coarse = None
    if "coarse_label" in items.table.column_names:
        coarse = items.table["coarse_label"].to_numpy().astype(object)
    measures = evaluate_ranking(ranking, indptr, item_rows, coarse, k=10)
    all_vectors = np.zeros((len(photos), vectors.shape[1]), np.float32)
    all_vectors[rows] = vectors
    return Evaluation(
        photos,
        items,
        ranking,
        indptr,
        item_rows,
        measures,
        skipped,
        all_vectors,
        stored.vectors,
        document_item,
    )


def measures_as_json(summary: dict[str, Estimate]) -> dict[str, dict[str, object]]:
    """Values under ``measures``, intervals under ``intervals``."""
    return {
        "measures": {name: round(e["value"], 6) for name, e in summary.items()},
        "intervals": {
            name: [round(e["low"], 6), round(e["high"], 6)] for name, e in summary.items()
        },
    }


def measures_table(summary: dict[str, Estimate], measures: Measures, of: str) -> Table:
    """The measures for people."""
    table = Table(
        title=f"{measures.queries:,} photos ({of}), {measures.gallery_size:,} items",
        title_justify="left",
    )
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, estimate in summary.items():
        interval = f"{estimate['low']:.4f} to {estimate['high']:.4f}"
        table.add_row(name, f"{estimate['value']:.4f}", interval)
    return table


def _true_rows(
    truth: Truth, photos: Queries, items: Items
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Like ``Truth.pairs_for``, with -1 for a true item that is not in the index."""
    query_rows = index_of(truth.table["query_id"], photos.table["query_id"])
    item_rows = index_of(truth.table["item_id"], items.table["item_id"])
    asked = query_rows >= 0
    order = np.lexsort((item_rows[asked], query_rows[asked]))
    counts = np.bincount(query_rows[asked], minlength=len(photos))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), item_rows[asked][order]


def _spread(ranking: Ranking, rows: NDArray[np.int64], count: int) -> Ranking:
    """The ranking of some photos as one of all: the others have empty rows."""
    items = np.full((count, ranking.items.shape[1]), -1, np.int64)
    scores = np.full(items.shape, -np.inf, np.float32)
    items[rows], scores[rows] = ranking.items, ranking.scores
    return Ranking(items, scores, ranking.gallery_size)
