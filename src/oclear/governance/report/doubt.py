"""The category IDs most worth a look, and what speaks for and against each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oclear.governance.report.folder import CategoryFolder


@dataclass(frozen=True)
class HoldingTogether:
    """What joins the items of an ID.

    Args:
        pairs: Pairs of its items.
        ties: How many pairs each reason ties directly.
        judged: Rows of the judged pairs among its items, the weakest first.
        not_kept: Pairs without a kept judgement: never compared, or judged clearly two things. None where nothing
            was judged at all.
    """

    pairs: int
    ties: dict[str, int]
    judged: list[int]
    not_kept: int | None


def doubtful_places(folder: CategoryFolder, most: int) -> NDArray[np.int64]:
    """The places of the IDs with the largest expected number of wrong members; equal ones in the order of IDs."""
    wrong = folder.expected_wrong()
    # Purity is a 32-bit number: less than this is its rounding.
    some = np.flatnonzero(wrong > 1e-5)
    return some[np.lexsort((folder.ids[some], -wrong[some]))][:most]


def holding_together(folder: CategoryFolder, place: int) -> HoldingTogether:
    """What joins the items of an ID."""
    ties = folder.ties
    mine = (folder.place[ties.a] == place) & (folder.place[ties.b] == place)
    counts = Counter(ties.kinds[code][1] for code in ties.code[mine].tolist())
    size = len(folder.members(place))
    pairs = size * (size - 1) // 2
    if (found := folder.judged) is None:
        return HoldingTogether(pairs, dict(counts.most_common()), [], None)
    rows = np.flatnonzero((folder.place[found.a] == place) & (folder.place[found.b] == place))
    weakest = rows[np.lexsort((found.b[rows], found.a[rows], found.score[rows]))]
    return HoldingTogether(
        pairs, dict(counts.most_common()), weakest.tolist(), pairs - len(weakest)
    )


def least_sure(folder: CategoryFolder, place: int) -> NDArray[np.int64]:
    """The items of an ID, those that fit it least first."""
    members = folder.members(place)
    return members[np.lexsort((folder.items.ids[members].astype(str), folder.belief[members]))]
