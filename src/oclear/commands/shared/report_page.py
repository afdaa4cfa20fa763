"""The page that ``oclear demo`` ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from oclear.commands.evaluate import Evaluation
from oclear.errors import BadImageError
from oclear.evaluation.report import Example, Shown, StageTime, choose_examples, write_report
from oclear.governance import read_manifest
from oclear.store import active_model
from oclear.tables import Items, Pictures, read_items

_PICTURE = 160


def write_report_page(
    path: Path,
    evaluation: Evaluation,
    source: Path,
    categories: Path,
    index_folder: Path,
    stages: list[StageTime],
    *,
    name: str,
    labels: str,
    simulated: str | None,
    command: str,
) -> None:
    """Writes ``report.html``: measures, times, and two dozen test photos with what was found for them."""
    catalogue = read_items(source)
    chosen = choose_examples(evaluation.ranking, evaluation.indptr, evaluation.item_rows)
    cards = _Cards(catalogue, evaluation.items, index_folder)
    photos = evaluation.queries.pictures()
    examples = []
    for row in chosen.tolist():
        true = evaluation.item_rows[evaluation.indptr[row] : evaluation.indptr[row + 1]]
        ranked = evaluation.ranking.items[row]
        ranks = np.flatnonzero(np.isin(ranked, true[true >= 0]))
        results = [
            cards.card(int(item), float(score), is_right=bool(item in true))
            for item, score in zip(ranked[:5], evaluation.ranking.scores[row, :5], strict=True)
            if item >= 0
        ]
        examples.append(
            Example(
                query=_picture(photos, row),
                query_id=str(evaluation.queries.ids[row]),
                results=results,
                true_items=[
                    cards.card(int(item), evaluation.score(row, int(item)), is_right=True)
                    for item in true[true >= 0][:2]
                ],
                rank_of_first_true=int(ranks[0]) + 1 if len(ranks) else None,
            )
        )
    summary = read_manifest(categories)["summary"]
    write_report(
        path,
        title=f"Photo search on {Path(name).resolve().name}",
        subtitle=f"{evaluation.measures.queries:,} test photos, {evaluation.measures.gallery_size:,} items",
        measures=evaluation.measures.summary(),
        queries=evaluation.measures.queries,
        gallery=evaluation.measures.gallery_size,
        simulated=simulated,
        examples=examples,
        stages=stages,
        facts=[
            ("labels from", labels),
            *_log_facts(summary),
            ("category IDs", f"{summary['category_ids']:,}"),
            ("IDs with photos", f"{summary['ids_with_queries']:,}"),
            ("training photos in an ID", f"{summary['queries_in']:,} of {summary['queries']:,}"),
            ("model", active_model(index_folder)),
        ],
        command=command,
    )


def _log_facts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    if "clicks" not in summary:
        return []
    return [
        ("clicks", f"{summary['clicks']:,}"),
        ("clicks found wrong", f"{100 * summary['noise_share']:.1f} %"),
    ]


class _Cards:
    """Pictures and titles of the catalogue, by row of the gallery."""

    def __init__(self, catalogue: Items, gallery: Items, index_folder: Path) -> None:
        self.gallery, self.pictures = gallery, catalogue.pictures()
        self.titles = gallery.texts(["title"] if "title" in gallery.table.column_names else [])
        self.first = {}
        for place in range(len(self.pictures) - 1, -1, -1):
            self.first[str(self.pictures.keys[place])] = place

    def card(self, item: int, score: float, *, is_right: bool) -> Shown:
        item_id = str(self.gallery.ids[item])
        place = self.first.get(item_id)
        image = None if place is None else _picture(self.pictures, place)
        return Shown(image, self.titles[item] or item_id, item_id, score, is_right)


def _picture(pictures: Pictures, row: int) -> Image.Image | None:
    try:
        image = pictures.load(row, target_size=_PICTURE)
    except BadImageError:
        return None
    image.thumbnail((_PICTURE, _PICTURE))
    return image
