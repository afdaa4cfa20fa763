"""What ``oclear categories explain`` tells, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oclear.errors import InputError
from oclear.governance.report.doubt import holding_together, least_sure
from oclear.governance.report.folder import CategoryFolder
from oclear.governance.report.pairs import Judged, judge, value_of, words_of
from oclear.governance.report.reasons import link_of, why_apart, why_together
from oclear.tables import index_of

_STRONGEST, _WEAKEST = 10, 5


def explain_pair(folder: CategoryFolder, item_x: str, item_y: str) -> dict[str, Any]:
    """Why two items are in one ID, or in two.

    Args:
        folder: From :func:`~oclear.governance.report.open_categories`.
        item_x: An item id.
        item_y: Another one.

    Returns:
        ``together``, ``reason`` (``code``, ``text``, ``details``), ``items`` (with their IDs), ``evidence`` (direct
        ties), ``judged`` (score, start, comparisons, words; or None), ``forbidding`` (columns and both values),
        ``chain`` (steps, where nothing ties them directly), ``look_alike`` (likeness of their two IDs, or None).

    Raises:
        InputError: An unknown item, or the same one twice.
    """
    x, y = folder.row_of(item_x), folder.row_of(item_y)
    if x == y:
        raise InputError(f"--item {item_x}: given twice", "Give two different items.")
    p, q = int(folder.place[x]), int(folder.place[y])
    if p == q:
        reason, chain = why_together(folder, x, y)
    else:
        reason, chain = why_apart(folder, x, y), []
    pair = None if folder.judged is None else folder.judged.between(x, y)
    ties = folder.ties
    return {
        "together": p == q,
        "reason": asdict(reason),
        "items": [_item(folder, row) for row in (x, y)],
        "evidence": [
            {
                "kind": ties.kinds[int(ties.code[k])][0],
                "reason": ties.kinds[int(ties.code[k])][1],
                "weight": _rounded(ties.weight[k]),
            }
            for k in ties.between(x, y)
        ],
        "words": asdict(words_of(folder, x, y)),
        "judged": None if pair is None else _judged(judge(folder, pair, x)),
        "forbidding": [
            {
                "column": column,
                "values": [value_of(folder, column, row) for row in (x, y)],
                "differ": bool(codes[x] >= 0 and codes[y] >= 0 and codes[x] != codes[y]),
            }
            for column, codes in folder.rules.items()
        ],
        "chain": [
            {
                "items": [str(folder.items.ids[link.a]), str(folder.items.ids[link.b])],
                "ties": link.ties,
                "score": _rounded(link.score),
            }
            for link in chain
        ],
        "look_alike": None
        if p == q
        else next((_rounded(w) for place, w in folder.look_alikes(p) if place == q), None),
    }


def explain_category(folder: CategoryFolder, category_id: int) -> dict[str, Any]:
    """What is in an ID, and how it hangs together.

    Args:
        folder: From :func:`~oclear.governance.report.open_categories`.
        category_id: The ID.

    Returns:
        ``category_id``, ``purity``, ``item_purity``, ``expected_wrong``, ``clicked_photos``,
        ``clicked_photos_elsewhere``, ``items`` (the least sure first), ``pairs``, ``ties`` (pairs by reason),
        ``strongest`` and ``weakest`` (judged pairs), ``pairs_not_kept``, ``photos`` (the surest first),
        ``photos_by_evidence``, ``look_alikes``.

    Raises:
        InputError: There is no such ID.
    """
    place = folder.place_of(category_id)
    together = holding_together(folder, place)
    strongest = together.judged[::-1][:_STRONGEST]
    photos = folder.photos(place)
    pictures = _pictures(folder, photos)
    kinds = dict.fromkeys(folder.photo_evidence[photos].tolist())
    return {
        "category_id": int(folder.ids[place]),
        **{name: _rounded(folder.column(name)[place]) for name in ("purity", "item_purity")},
        "expected_wrong": _rounded(folder.expected_wrong()[place]),
        "clicked_photos": int(folder.column("clicked_photos")[place]),
        "clicked_photos_elsewhere": int(folder.column("clicked_photos_elsewhere")[place]),
        "items": [_item(folder, int(row)) for row in least_sure(folder, place)],
        "pairs": together.pairs,
        "ties": together.ties,
        "strongest": [_brief(folder, pair) for pair in strongest],
        "weakest": [
            _brief(folder, pair) for pair in together.judged[:_WEAKEST] if pair not in strongest
        ],
        "pairs_not_kept": together.not_kept,
        "photos": [
            {
                "query_id": str(folder.photo_ids[k]),
                "weight": _rounded(folder.photo_weight[k]),
                "evidence": str(folder.photo_evidence[k]),
                **({} if picture is None else {"picture": picture}),
            }
            for k, picture in zip(photos, pictures, strict=True)
        ],
        "photos_by_evidence": {
            str(kind): {
                "photos": int((folder.photo_evidence[photos] == kind).sum()),
                "mean_weight": _rounded(
                    folder.photo_weight[photos][folder.photo_evidence[photos] == kind].mean()
                ),
            }
            for kind in kinds
        },
        "look_alikes": [
            {
                "category_id": int(folder.ids[other]),
                "likeness": _rounded(weight),
                "items": len(folder.members(other)),
                "title": folder.title(int(folder.members(other)[0]))
                if len(folder.members(other))
                else "",
            }
            for other, weight in folder.look_alikes(place)
        ],
    }


def _item(folder: CategoryFolder, row: int) -> dict[str, Any]:
    return {
        "item_id": str(folder.items.ids[row]),
        "title": folder.title(row),
        "category_id": int(folder.ids[folder.place[row]]),
        "weight": _rounded(folder.belief[row]),
    }


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "score": _rounded(judged.score),
        "start": _rounded(judged.start),
        "comparisons": [
            asdict(each)
            | {"value": _rounded(each.value), "contribution": _rounded(each.contribution)}
            for each in judged.compared
        ],
    }


def _brief(folder: CategoryFolder, pair: int) -> dict[str, Any]:
    assert folder.judged is not None
    a, b = int(folder.judged.a[pair]), int(folder.judged.b[pair])
    return {
        "items": [str(folder.items.ids[a]), str(folder.items.ids[b])],
        "score": _rounded(folder.judged.score[pair]),
        "ties": link_of(folder, a, b).ties,
    }


def _pictures(folder: CategoryFolder, photos: NDArray[np.int64]) -> list[str | None]:
    """Where the photos lie, where the queries are given."""
    if folder.queries is None:
        return [None] * len(photos)
    import pyarrow as pa

    ids = pa.chunked_array([pa.array(folder.photo_ids[photos], pa.string())])
    rows = index_of(ids, folder.queries.table["query_id"])
    places = folder.queries.pictures()
    return [places.source(int(row)) if row >= 0 else None for row in rows]


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)
