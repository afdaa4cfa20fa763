"""The numbers of a categorize folder that its page shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oclear.governance.report.folder import CategoryFolder
from oclear.governance.report.pairs import contributions, family_of, plain, told

_ITEM_STEPS = (1, 2, 3, 4, 5, 6, 11, 21, 51, 101, 201, 501)
_PHOTO_STEPS = (0, 1, 2, 3, 6, 11, 21, 51, 101, 201, 501, 1001)
_PURITY_STEPS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_IN_BY = {
    "click": "in an ID, as clicked",
    "neighbours": "in an ID, by their neighbours",
    "truth": "in an ID, by the truth",
}


@dataclass(frozen=True)
class Bin:
    """A bar of a histogram: how many IDs, and how many of what is counted they hold."""

    label: str
    ids: int
    members: int


@dataclass(frozen=True)
class EvidenceRow:
    """What one reason contributed.

    Args:
        kind: The kind of evidence.
        reason: What it says.
        pairs: It tied.
        in_one_id: Of them.
        alone: Of those, the pairs that nothing else ties directly.
        refused: Pairs that a cannot-link rule refused.
        outweighed: Pairs that other evidence kept apart.
    """

    kind: str
    reason: str
    pairs: int
    in_one_id: int
    alone: int
    refused: int
    outweighed: int


@dataclass(frozen=True)
class Family:
    """What comparisons of one family do: what they add to the log-odds, on average.

    Args:
        name: ``words``, ``pictures``, ``clicks`` or a column.
        together: Over the kept pairs in one ID.
        apart: Over the kept pairs in two.
        parts: Name in plain words, weight for one standard deviation, and that standard deviation.
    """

    name: str
    together: float
    apart: float
    parts: list[tuple[str, float, float]]

    @property
    def gap(self) -> float:
        """How much more it adds for pairs in one ID."""
        return self.together - self.apart


@dataclass(frozen=True)
class ItemPairs:
    """All pairs of items in one ID: ``total`` = ``tied`` + ``judged_for`` + ``judged_against`` + ``not_kept``.

    Args:
        total: Pairs.
        tied: By direct evidence.
        judged_for: Others that were judged one product.
        judged_against: Others that were judged two things, and outweighed.
        not_kept: Others: never compared, or judged clearly two things.
    """

    total: int
    tied: int
    judged_for: int
    judged_against: int
    not_kept: int


def photo_steps(summary: dict[str, Any]) -> list[tuple[str, int]]:
    """Where the training photos went, as ``(what, how many)``; a photo in several IDs may count twice."""
    steps = [(_IN_BY.get(kind, kind), int(n)) for kind, n in summary["queries_in_by"].items()]
    steps += [(f"left out: {reason}", int(n)) for reason, n in summary["queries_left_out"].items()]
    if held := int(summary.get("held_out_for_validation", 0)):
        steps.append(("held out for validation", held))
    return steps


def item_sizes(folder: CategoryFolder) -> list[Bin]:
    """IDs by their number of items."""
    return _bins(folder.column("items"), _ITEM_STEPS)


def photo_sizes(folder: CategoryFolder) -> list[Bin]:
    """IDs by their number of photos."""
    return _bins(folder.column("queries"), _PHOTO_STEPS)


def purity_bins(folder: CategoryFolder) -> list[Bin]:
    """IDs of two members and more by their estimated purity; ``members`` are items and photos."""
    purity = folder.column("purity").astype(np.float64)
    members = folder.column("items") + folder.column("queries")
    several = members > 1
    place = np.searchsorted(_PURITY_STEPS, purity, side="right") - 1
    ends = [*(f"{100 * step:g}" for step in _PURITY_STEPS), "100"]
    return [
        Bin(
            f"{low}–{high}",
            int((several & (place == n)).sum()),
            int(members[several & (place == n)].sum()),
        )
        for n, (low, high) in enumerate(pairwise(ends))
    ]


def evidence_rows(folder: CategoryFolder) -> list[EvidenceRow]:
    """What each reason contributed, in the order in which it was collected."""
    ties = folder.ties
    count = len(folder.items)
    pair = np.minimum(ties.a, ties.b) * count + np.maximum(ties.a, ties.b)
    _, of_pair, times = np.unique(pair, return_inverse=True, return_counts=True)
    alone = (times[of_pair] == 1) & _inside(folder, ties.a, ties.b)
    by_kind = Counter(ties.kinds[code] for code in ties.code[alone].tolist())
    return [
        EvidenceRow(
            row["kind"],
            row["reason"],
            row["pairs"],
            row["in_one_id"],
            by_kind[row["kind"], row["reason"]],
            row["refused_by_cannot_link"],
            row["outweighed"],
        )
        for row in folder.summary.get("evidence_outcome", [])
    ]


def item_pairs(folder: CategoryFolder) -> ItemPairs:
    """What holds the items of one ID together, counted in pairs."""
    sizes = folder.column("items").astype(np.int64)
    total = int((sizes * (sizes - 1) // 2).sum())
    count = len(folder.items)
    ties = folder.ties
    inside = _inside(folder, ties.a, ties.b)
    low, high = np.minimum(ties.a, ties.b)[inside], np.maximum(ties.a, ties.b)[inside]
    tied = np.unique(low * count + high)
    judged_for = judged_against = 0
    if (judged := folder.judged) is not None:
        pair = np.minimum(judged.a, judged.b) * count + np.maximum(judged.a, judged.b)
        more = _inside(folder, judged.a, judged.b) & ~np.isin(pair, tied)
        judged_for = int((more & (judged.score > 0)).sum())
        judged_against = int((more & (judged.score <= 0)).sum())
    rest = total - len(tied) - judged_for - judged_against
    return ItemPairs(total, len(tied), judged_for, judged_against, rest)


def families(folder: CategoryFolder) -> list[Family]:
    """What the matcher learned, by family of comparisons, the one that parts pairs most first."""
    judged, matcher = folder.judged, folder.matcher
    if judged is None or matcher is None or not len(judged.score):
        return []
    added = contributions(folder, np.arange(len(judged.score)))
    inside = _inside(folder, judged.a, judged.b)
    found = []
    for family in dict.fromkeys(family_of(name) for name in matcher.names):
        mine = [n for n, name in enumerate(matcher.names) if family_of(name) == family]
        summed = added[:, mine].sum(axis=1)
        parts = [
            (told(matcher.names[n]), float(matcher.weight[n]), float(matcher.scale[n]))
            for n in sorted(mine, key=lambda n: -abs(matcher.weight[n]))
        ]
        found.append(Family(plain(family), _mean(summed[inside]), _mean(summed[~inside]), parts))
    return sorted(found, key=lambda family: -abs(family.gap))


def contradicted(folder: CategoryFolder, most: int) -> list[int]:
    """The ties (rows of ``folder.ties``) that were not followed, the strongest first, each pair once."""
    ties = folder.ties
    apart = np.flatnonzero(~_inside(folder, ties.a, ties.b))
    order = apart[np.lexsort((ties.b[apart], ties.a[apart], -ties.weight[apart]))]
    seen: dict[tuple[int, int], int] = {}
    for row in order.tolist():
        seen.setdefault((int(ties.a[row]), int(ties.b[row])), row)
    return list(seen.values())[:most]


def _inside(
    folder: CategoryFolder, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (folder.place[a] == folder.place[b]) & (folder.place[a] >= 0)
    return inside


def _bins(sizes: NDArray[np.int64], steps: tuple[int, ...]) -> list[Bin]:
    """Bars up to the last that holds an ID."""
    place = np.searchsorted(steps, sizes, side="right") - 1
    bins = []
    for n in range(int(place.max(initial=-1)) + 1):
        mine = place == n
        last = steps[n + 1] - 1 if n + 1 < len(steps) else None
        label = (
            f"{steps[n]}+"
            if last is None
            else str(last)
            if last == steps[n]
            else f"{steps[n]}–{last}"
        )
        bins.append(Bin(label, int(mine.sum()), int(sizes[mine].sum())))
    return bins


def _mean(values: NDArray[np.floating]) -> float:
    return float(values.mean()) if len(values) else 0.0
