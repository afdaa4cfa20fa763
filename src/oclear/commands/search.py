"""``oclear search``: which items does a photo show?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group
from rich.table import Table

from oclear.commands.shared.photos import encode_files, open_index
from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.progress import Reporter
from oclear.store import Hit
from oclear.store.confidence import read_confidence
from oclear.store.judging import Judged, RejectBelow, search_judged, threshold_of

_SHOWN = ("title", "coarse_label", "brand", "price")


class SearchConfig(BaseModel):
    """Configuration of ``oclear search``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    k: int = Field(default=10, ge=1, le=1000, description="items wanted")
    where: str | None = Field(default=None, description="filter over item columns")
    reject_below: RejectBelow = Field(
        default=None,
        description="probability of being in the catalogue below which a photo gets no answer; "
        "'calibrated': that of oclear calibrate",
    )


def search(
    index: Path,
    photos: Sequence[Path],
    config: SearchConfig,
    reporter: Reporter,
    *,
    model: str | None = None,
) -> CommandResult:
    """Finds the items nearest to each photo.

    Args:
        index: The index folder.
        photos: Picture files.
        config: How many, and the filter.
        reporter: Says what happens.
        model: The model that made the index, where its own copy is not to be used.

    Raises:
        InputError: A photo cannot be read, the filter is refused, or photos are to be rejected by an index that is
            not calibrated.
        ModelMismatchError: The index was made by another model.
    """
    if not photos:
        raise InputError("no photo given", "Name one or more picture files.")
    opened, loaded = open_index(index, model)
    confidence = read_confidence(index, loaded.model_id)
    threshold = threshold_of(config.reject_below, confidence)
    vectors = encode_files(loaded, photos)
    answers = search_judged(opened, vectors, config.k, config.where, confidence, threshold)
    data = {
        "model_id": loaded.model_id,
        "results": [
            {
                "photo": str(photo),
                "in_catalogue": None
                if found.in_catalogue is None
                else round(found.in_catalogue, 6),
                "rejected": found.rejected,
                "hits": [_as_json(hit) for hit in found.hits],
            }
            for photo, found in zip(photos, answers, strict=True)
        ],
    }
    views = [_table(photo, found) for photo, found in zip(photos, answers, strict=True)]
    return CommandResult(data, Group(*views))


def _as_json(hit: Hit) -> dict[str, Any]:
    return {
        "item_id": hit.item_id,
        "score": round(hit.score, 6),
        "part": hit.part,
        "attributes": dict(hit.attributes),
    }


def _table(photo: Path, found: Judged) -> Table:
    title, hits = str(photo), found.hits
    if found.in_catalogue is not None:
        outcome = ": not answered" if found.rejected else ""
        title += f" (in the catalogue: {found.in_catalogue:.0%}{outcome})"
    table = Table(title=title, title_justify="left")
    table.add_column("#", justify="right")
    table.add_column("item")
    table.add_column("score", justify="right")
    shown = [name for name in _SHOWN if any(hit.attributes.get(name) is not None for hit in hits)]
    for name in shown:
        table.add_column(name, max_width=60)
    for place, hit in enumerate(hits, start=1):
        values = [hit.attributes.get(name) for name in shown]
        cells = ["" if value is None else str(value) for value in values]
        table.add_row(str(place), hit.item_id, f"{hit.score:.4f}", *cells)
    return table
