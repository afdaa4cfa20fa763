"""``report.html``: one file that shows an analyst what governance did, and where to look twice.

The page needs nothing else: pictures are embedded, its content security policy keeps the browser off the network, and
the one script, which searches, is allowed by its hash. All of it can be read and printed without the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
from markupsafe import Markup

from oclear.governance.report.cards import Card, Thumbnails, Tile, item_tile, make_card
from oclear.governance.report.charts import bar_chart, curve_chart
from oclear.governance.report.doubt import doubtful_places
from oclear.governance.report.facts import (
    Bin,
    contradicted,
    evidence_rows,
    families,
    item_pairs,
    item_sizes,
    photo_sizes,
    photo_steps,
    purity_bins,
)
from oclear.governance.report.folder import CategoryFolder
from oclear.governance.report.pairs import plain
from oclear.governance.report.reasons import Reason, why_apart
from oclear.output import atomic_file

_TEMPLATE = "page.html.j2"
_SCRIPT = "page.js.j2"
DOUBTFUL = 100
_CONTRADICTED = 12
# With the search index a page stays below 8 MB.
_PICTURE_BYTES = 5_000_000
_INDEX_CHARACTERS = 2_000_000
_TITLE = 90


@dataclass(frozen=True)
class Contradiction:
    """A tie that was not followed, and why."""

    kind: str
    reason: str
    weight: float
    left: Tile
    right: Tile
    ids: tuple[int, int]
    why: Reason


def write_page(path: Path, folder: CategoryFolder) -> dict[str, int]:
    """Writes the page; it appears whole or not at all.

    Only the pictures of the doubtful IDs, and of a few contradictions, are decoded.

    Args:
        path: The HTML file, replaced where there is one.
        folder: From :func:`~oclear.governance.report.open_categories`, with the queries for pictures of photos.

    Returns:
        ``doubtful`` IDs shown, ``pictures`` decoded, ``searchable`` IDs and ``characters`` of the page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oclear.governance.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=_count, percent=_percent, signed=_signed, cut=_cut, plain=plain
    )
    thumbnails = Thumbnails(folder, _PICTURE_BYTES)
    places = doubtful_places(folder, DOUBTFUL)
    contradictions = _contradictions(folder, thumbnails)
    cards = [
        make_card(folder, place, rank, thumbnails) for rank, place in enumerate(places.tolist(), 1)
    ]
    index, searchable = _search_index(folder)
    script = environment.get_template(_SCRIPT).render()
    page = environment.get_template(_TEMPLATE).render(
        **_numbers(folder),
        cards=cards,
        shown={card.category_id for card in cards},
        doubtful=int((folder.expected_wrong() >= 0.5).sum()),
        contradictions=contradictions,
        learned=families(folder),
        index=index,
        searchable=searchable,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    with atomic_file(path) as file:
        file.write_text(page, encoding="utf-8")
    return {
        "doubtful": len(cards),
        "pictures": thumbnails.decoded,
        "searchable": searchable,
        "characters": len(page),
    }


def _numbers(folder: CategoryFolder) -> dict[str, Any]:
    """All that is counted, and the charts."""
    summary = folder.summary
    return {
        "summary": summary,
        "matching": summary.get("matching", {"learned": False}),
        "settings": folder.settings,
        "items": len(folder.items),
        "category_ids": len(folder.ids),
        "alone": int((folder.column("items") == 1).sum()),
        "photo_steps": _coloured(photo_steps(summary)),
        "evidence": evidence_rows(folder),
        "pairs": item_pairs(folder),
        "skipped": _skipped(folder.path),
        "rules": list(folder.rules),
        "charts": {
            "items": _histogram(item_sizes(folder), "IDs", "items in the ID", "items"),
            "photos": _histogram(photo_sizes(folder), "IDs", "photos in the ID", "photos"),
            "purity": _histogram(
                purity_bins(folder), "IDs", "estimated purity, per cent", "members"
            ),
            "positions": curve_chart(
                summary.get("examination_by_position", []),
                axis="looked at",
                across="place in the result list",
            ),
        },
    }


def _coloured(steps: list[tuple[str, int]]) -> list[tuple[str, int, str]]:
    """With a colour: blues for photos in an ID, warm ones for those left out, grey for those held out."""
    inside, outside = iter(("c1", "c2", "c6")), iter(("c4", "c7", "c5"))
    return [
        (name, n, next({"in": inside, "le": outside}.get(name[:2], iter(())), "c3"))
        for name, n in steps
    ]


def _histogram(bins: list[Bin], axis: str, across: str, what: str) -> Markup:
    return bar_chart(
        [each.label for each in bins],
        [each.ids for each in bins],
        axis=axis,
        across=across,
        hints=[f"{each.label}: {each.ids:,} IDs with {each.members:,} {what}" for each in bins],
    )


def _contradictions(folder: CategoryFolder, thumbnails: Thumbnails) -> list[Contradiction]:
    found = []
    ties = folder.ties
    for k in contradicted(folder, _CONTRADICTED):
        a, b = int(ties.a[k]), int(ties.b[k])
        if folder.place[a] < 0 or folder.place[b] < 0:
            continue
        kind, reason = ties.kinds[int(ties.code[k])]
        found.append(
            Contradiction(
                kind,
                reason,
                float(ties.weight[k]),
                item_tile(folder, a, thumbnails),
                item_tile(folder, b, thumbnails),
                (int(folder.ids[folder.place[a]]), int(folder.ids[folder.place[b]])),
                why_apart(folder, a, b),
            )
        )
    return found


def _skipped(folder: Path) -> list[tuple[str, int]]:
    """Pictures that were left out, by reason, the most frequent first."""
    path = folder / "skipped.parquet"
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException):
        return []
    return Counter(table["reason"].to_pylist()).most_common()


def _search_index(folder: CategoryFolder) -> tuple[Markup, int]:
    """IDs with their items as JSON, the most doubtful first, as many as the page has room for; and how many."""
    wrong = folder.expected_wrong()
    order = sorted(range(len(folder.ids)), key=lambda place: (-wrong[place], place))
    rows, used = [], 0
    purity, photos = folder.column("purity"), folder.column("queries")
    for place in order:
        members = [
            [str(folder.items.ids[row]), _cut(folder.title(row))]
            for row in folder.members(place).tolist()
        ]
        entry = json.dumps(
            [int(folder.ids[place]), round(float(purity[place]), 4), int(photos[place]), members],
            ensure_ascii=False,
            separators=(",", ":"),
        )
        used += len(entry) + 1
        if used > _INDEX_CHARACTERS:
            break
        rows.append(entry)
    # In a script element nothing but its end is special.
    text = f"[{','.join(rows)}]".replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")), len(rows)


def _count(number: float) -> str:
    return f"{number:,}"


def _percent(share: float) -> str:
    """Per cent, never rounded up to all.

    Example:
        >>> _percent(0.5), _percent(0.99999), _percent(1.0)
        ('50.0', '99.9', '100')
    """
    return "100" if share == 1 else f"{min(100 * share, 99.9):.1f}"


def _signed(number: float, digits: int = 1) -> str:
    """With a sign, and a minus as long as a plus.

    Example:
        >>> _signed(1.26), _signed(-0.04), _signed(-3)
        ('+1.3', '0.0', '−3.0')
    """
    text = f"{number:+.{digits}f}"
    if float(text) == 0:
        return text[1:]
    return text.replace("-", "−")


def _cut(text: str, most: int = _TITLE) -> str:
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


__all__ = ["DOUBTFUL", "Card", "write_page"]
