"""The first belief: what the nearest photos and documents vote for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.assign.behaviour import PairBehaviour
from oclear.governance.looks import Looks, nearest

_PHOTO_NEIGHBOURS = 24
_ITEM_NEIGHBOURS = 16
# Cosine at which surroundings weigh as much as the chance that the photo shows nothing known.
_FAR = 0.3
# Belief in a group that is neither near nor clicked, so that a click alone is never impossible.
_FLOOR = 1e-3
# Assumed before anything is estimated.
_WRONG, _LISTED = 0.3, 0.9


def neighbour_votes(
    own: csr_matrix, into_groups: csr_matrix, looks: Looks, temperature: float
) -> csr_matrix:
    """Votes of the nearest photos, for what they clicked, and of the nearest documents.

    See :func:`~oclear.governance.looks.nearest` for what neighbours cost.

    Args:
        own: (queries, groups) each photo's clicks, divided by their sum.
        into_groups: (items, groups) ones where an item is in a group.
        looks: Of items and queries.
        temperature: A vote weighs ``exp((cos - 1) / temperature)``.

    Returns:
        (queries, groups).
    """
    photos = _kernel(looks.queries, looks.queries, _PHOTO_NEIGHBOURS + 1, temperature)
    rows = np.repeat(np.arange(photos.shape[0]), np.diff(photos.indptr))
    photos.data[photos.indices == rows] = 0  # no photo votes for itself
    documents = _kernel(looks.queries, looks.items, _ITEM_NEIGHBOURS, temperature)
    return (photos @ own + documents @ into_groups).tocsr()


def _kernel(
    vectors: NDArray[np.float32], among: NDArray[np.float32], k: int, temperature: float
) -> csr_matrix:
    """Similarity weights to the nearest rows."""
    similarities, rows = nearest(vectors, among, k)
    weights = np.exp((similarities.astype(np.float64) - 1) / temperature)
    starts = np.arange(len(rows) + 1) * rows.shape[1]
    shape = (len(vectors), len(among))
    return csr_matrix((weights.ravel(), rows.ravel(), starts), shape=shape)


def first_belief(
    behaviour: PairBehaviour,
    around: csr_matrix,
    temperature: float,
    wrong_click_share: float | None,
) -> NDArray[np.float64]:
    """(pairs,) P(group | clicks, lists, the nearest); what is far alone decides nothing.

    Args:
        behaviour: Clicks and lists.
        around: (queries, groups) from :func:`neighbour_votes`.
        temperature: The same as there.
        wrong_click_share: In (0, 1); None assumes 0.3.
    """
    pairs = behaviour.pairs
    near = pairs.values_of(around)
    unknown = np.exp((_FAR - 1) / temperature)
    total = pairs.sums(near) + unknown
    wrong = _WRONG if wrong_click_share is None else wrong_click_share
    on_group, elsewhere = behaviour.clicks(wrong)
    votes = np.log(near / total[pairs.photo] + _FLOOR)
    # Votes are shares already; how often each group is searched is set against all alike.
    often = behaviour.prior() + np.log(pairs.groups)
    return pairs.shares(
        votes + often + behaviour.lists(_LISTED) + on_group, np.log(unknown / total) + elsewhere
    )
