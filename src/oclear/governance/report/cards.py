"""The cards of the page: a doubtful category ID with its pictures and what speaks for and against it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from oclear.errors import BadImageError
from oclear.governance.report.doubt import HoldingTogether, holding_together, least_sure
from oclear.governance.report.folder import CategoryFolder
from oclear.governance.report.pairs import Judged, judge
from oclear.tables import Pictures

_SIDE = 96
_QUALITY = 74
_ITEMS, _LEAST_PHOTOS, _TILES, _LOOK_ALIKES = 8, 4, 12, 3


class Thumbnails:
    """Small pictures as ``data:`` addresses, until the page would grow too large.

    Args:
        folder: Whose items and photos are shown.
        most_bytes: Of all addresses together.
    """

    def __init__(self, folder: CategoryFolder, most_bytes: int) -> None:
        self.items = folder.items.pictures()
        self.photos = None if folder.queries is None else folder.queries.pictures()
        self.photo_rows: dict[str, int] = {}
        if folder.queries is not None:
            # Where a photo has several pictures, which it may not, the first would count.
            self.photo_rows = {str(key): n for n, key in enumerate(folder.queries.ids)}
        self.left = most_bytes
        self.decoded = 0

    def of_item(self, row: int) -> str | None:
        """The first picture of an item; None where it cannot be decoded or the page is full."""
        return self._address(self.items, int(np.searchsorted(self.items.rows, row)))

    def of_photo(self, query_id: str) -> str | None:
        """A photo; None where the queries are not given, too."""
        row = self.photo_rows.get(query_id)
        return None if row is None or self.photos is None else self._address(self.photos, row)

    def _address(self, pictures: Pictures, place: int) -> str | None:
        if self.left <= 0:
            return None
        try:
            image = pictures.load(place, target_size=_SIDE)
        except BadImageError:
            return None
        self.decoded += 1
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
        self.left -= len(address)
        return address


@dataclass(frozen=True)
class Tile:
    """A picture with its name.

    Args:
        picture: A ``data:`` address, or None.
        key: The item or query id.
        title: Of an item; empty for a photo.
        weight: How sure it belongs to the ID, in [0, 1].
        note: A few words more.
        mark: ``A`` or ``B`` for the items of the weakest pair.
    """

    picture: str | None
    key: str
    title: str
    weight: float
    note: str = ""
    mark: str = ""


@dataclass(frozen=True)
class LookAlike:
    """An ID that looks like another and was not merged with it."""

    category_id: int
    likeness: float
    items: int
    tile: Tile


@dataclass(frozen=True)
class Card:
    """A doubtful ID.

    Args:
        rank: From 1.
        category_id: The ID.
        purity: Estimated share of right members.
        item_purity: The same of its items alone.
        wrong_items: Expected number of wrong items.
        wrong_photos: Expected number of wrong photos.
        items: How many.
        photos: How many.
        clicked: Photos with a click on its items.
        elsewhere: Those of them that were found to show something else.
        item_tiles: Some of its items, the weakest pair first.
        photo_tiles: Some of its photos, the least sure first.
        together: What joins its items.
        weakest: The weakest judged pair, or None.
        ends: The ids of its two items.
        speaks_for: Judged pairs that speak for a merge.
        look_alikes: The likest IDs.
        search: What the search finds it by, in small letters.
    """

    rank: int
    category_id: int
    purity: float
    item_purity: float
    wrong_items: float
    wrong_photos: float
    items: int
    photos: int
    clicked: int
    elsewhere: int
    item_tiles: list[Tile]
    photo_tiles: list[Tile]
    together: HoldingTogether
    weakest: Judged | None
    ends: tuple[str, ...]
    speaks_for: int
    look_alikes: list[LookAlike]
    search: str


def make_card(folder: CategoryFolder, place: int, rank: int, thumbnails: Thumbnails) -> Card:
    """The card of one ID."""
    together = holding_together(folder, place)
    weakest = judge(folder, together.judged[0]) if together.judged else None
    rows = least_sure(folder, place).tolist()
    marks = {} if weakest is None else {weakest.a: "A", weakest.b: "B"}
    shown = [*marks, *(row for row in rows if row not in marks)][:_ITEMS]
    photos = folder.photos(place)[::-1]
    wrong = float(folder.expected_wrong()[place])
    wrong_items = float((1 - folder.column("item_purity")[place]) * len(rows))
    speaks_for = 0
    if folder.judged is not None:
        speaks_for = int((folder.judged.score[together.judged] > 0).sum())
    words = [str(folder.ids[place])]
    words += [f"{folder.items.ids[row]} {folder.title(row)}" for row in rows]
    return Card(
        rank,
        int(folder.ids[place]),
        float(folder.column("purity")[place]),
        float(folder.column("item_purity")[place]),
        max(0.0, wrong_items),
        max(0.0, wrong - wrong_items),
        len(rows),
        len(photos),
        int(folder.column("clicked_photos")[place]),
        int(folder.column("clicked_photos_elsewhere")[place]),
        [item_tile(folder, row, thumbnails, marks.get(row, "")) for row in shown],
        [
            _photo_tile(folder, k, thumbnails)
            for k in photos[: max(_LEAST_PHOTOS, _TILES - len(shown))].tolist()
        ],
        together,
        weakest,
        tuple(str(folder.items.ids[row]) for row in marks),
        speaks_for,
        _look_alikes(folder, place, thumbnails),
        " ".join(words).lower(),
    )


def item_tile(folder: CategoryFolder, row: int, thumbnails: Thumbnails, mark: str = "") -> Tile:
    """An item with its picture."""
    return Tile(
        thumbnails.of_item(row),
        str(folder.items.ids[row]),
        folder.title(row),
        float(folder.belief[row]),
        mark=mark,
    )


def _photo_tile(folder: CategoryFolder, k: int, thumbnails: Thumbnails) -> Tile:
    key = str(folder.photo_ids[k])
    evidence = str(folder.photo_evidence[k])
    return Tile(thumbnails.of_photo(key), key, "", float(folder.photo_weight[k]), evidence)


def _look_alikes(folder: CategoryFolder, place: int, thumbnails: Thumbnails) -> list[LookAlike]:
    found: Sequence[tuple[int, float]] = folder.look_alikes(place)[:_LOOK_ALIKES]
    return [
        LookAlike(
            int(folder.ids[other]),
            likeness,
            len(folder.members(other)),
            item_tile(folder, int(folder.members(other)[0]), thumbnails),
        )
        for other, likeness in found
        if len(folder.members(other))
    ]
