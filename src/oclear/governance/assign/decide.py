"""From beliefs to groups: who is in, who is left out, and who shows several things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oclear.governance.assign.behaviour import PairBehaviour
from oclear.governance.assign.memberships import Assignment, Further
from oclear.governance.assign.pairs import Pairs
from oclear.governance.looks import normalized


def decide(
    behaviour: PairBehaviour,
    belief: NDArray[np.float64],
    several: NDArray[np.bool_],
    has_picture: NDArray[np.bool_],
    needed: NDArray[np.float64],
) -> Assignment:
    """The groups of photos whose belief is large enough, and why the others are left out.

    Args:
        behaviour: Clicks of the pairs; every photo has a pair.
        belief: (pairs,) in [0, 1].
        several: (pairs,) from :func:`groups_between`.
        has_picture: (photos,).
        needed: (photos,) belief that the best group needs.
    """
    pairs, clicked = behaviour.pairs, behaviour.behaviour.clicked
    best = pairs.best(belief)
    shows_several = pairs.sums(several) > 0
    # Of several things, the one believed most stands first.
    best = np.where(shows_several, pairs.best(np.where(several, belief, -1.0)), best)
    share = belief[best]
    keep = has_picture & (shows_several | (share >= needed))
    evidence = np.where(keep, np.where(behaviour.own[best] > 0, "click", "neighbours"), "")
    rest = several & keep[pairs.photo]
    rest[best] = False
    left_out = {
        "no readable picture": int((~has_picture).sum()),
        "clicked, but its surroundings disagree": int((has_picture & clicked & ~keep).sum()),
        "no click, and nothing near enough": int((has_picture & ~clicked & ~keep).sum()),
    }
    return Assignment(
        np.where(keep, pairs.group[best], -1),
        np.where(keep, share, 0).astype(np.float32),
        evidence.astype(object),
        left_out,
        behaviour.noise(belief),
        Further(pairs.photo[rest], pairs.group[rest], belief[rest].astype(np.float32)),
    )


def groups_between(
    pairs: Pairs,
    photos: NDArray[np.float32],
    documents: NDArray[np.float32],
    clicked: NDArray[np.bool_],
    belief: NDArray[np.float64],
    further_share: float,
    least_share: float,
) -> NDArray[np.bool_]:
    """(pairs,) groups of photos of several things: clicked, believed, and the photo lies between them.

    It lies between groups if it is nearer to the documents of each than these are to each other. Two look-alikes are
    nearer to each other: a photo of one that clicked both does not show both.

    Args:
        pairs: Photos and groups.
        photos: (photos, d) vectors of unit length, less the mean of their side.
        documents: (groups, d) the same of the mean document of each group, of any length.
        clicked: (pairs,) whether the photo clicked the group.
        belief: (pairs,) in [0, 1].
        further_share: Belief that each of them needs.
        least_share: Belief that the clicked groups of a photo need together.
    """
    near = np.flatnonzero(clicked & (belief >= further_share))
    several = np.bincount(pairs.photo[near], minlength=pairs.photos) > 1
    several &= pairs.sums(np.where(clicked, belief, 0)) >= least_share
    near = near[several[pairs.photo[near]]]
    result = np.zeros(len(belief), bool)
    best = pairs.best(np.where(clicked, belief, -1.0))
    other = near[best[pairs.photo[near]] != near]
    first = best[pairs.photo[other]]
    unit = normalized(documents)
    photo, a, b = photos[pairs.photo[other]], unit[pairs.group[first]], unit[pairs.group[other]]
    apart = np.einsum("ij,ij->i", a, b)
    is_between = np.minimum(
        np.einsum("ij,ij->i", photo, a), np.einsum("ij,ij->i", photo, b)
    ) > np.maximum(apart, 0)
    result[other[is_between]] = True
    result[first[is_between]] = True
    return result
