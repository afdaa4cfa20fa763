"""Keeping a few popular IDs from filling the training set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from oclear.governance.assign import Memberships


def cap_heads(memberships: Memberships, most: int) -> Memberships:
    """Leaves out the least sure photos of IDs that have too many.

    Args:
        memberships: Which photos belong to which IDs.
        most: Photos of one ID; equally sure ones stay in the order of their rows.
    """
    order = np.lexsort((memberships.query, -memberships.weight, memberships.group))
    group = memberships.group[order]
    start = np.flatnonzero(np.diff(group, prepend=-1))
    sizes = np.diff(np.append(start, len(group)))
    place = np.arange(len(group)) - np.repeat(start, sizes)
    stays = np.sort(order[place < most])
    if len(stays) == len(order):
        return memberships
    before, after = (np.unique(rows) for rows in (memberships.query, memberships.query[stays]))
    return replace(
        memberships,
        query=memberships.query[stays],
        group=memberships.group[stays],
        weight=memberships.weight[stays],
        evidence=memberships.evidence[stays],
        left_out=memberships.left_out | {"its ID has enough photos": len(before) - len(after)},
    )
