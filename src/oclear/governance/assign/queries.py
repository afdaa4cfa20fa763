"""Queries -> IDs: a click is a hint; looks, result lists and the photos around decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.assign.behaviour import Behaviour, PairBehaviour
from oclear.governance.assign.decide import decide, groups_between
from oclear.governance.assign.likeness import folds_of, honest_likeness, sure_labels
from oclear.governance.assign.memberships import Assignment
from oclear.governance.assign.pairs import Pairs
from oclear.governance.assign.vote import first_belief, neighbour_votes
from oclear.governance.looks import Looks, normalized

_ROUNDS = 3
# Chance that a photo shows nothing of the catalogue.
_NOTHING = 1e-3
# Share of the log-likelihood ratio of looks that counts. Directions are not independent, so that all of it would count
# most of it twice; which share is right is tried on the clicks. Below the least one, beliefs learn the noise.
_SHARPNESS = (0.12, 0.15, 0.2, 0.25)
# Photos of groups with several sure photos, from which differences between photos can be learned.
_LEAST_TEACHERS = 100


def assign_queries(
    clicks: csr_matrix,
    group: NDArray[np.int64],
    looks: Looks,
    *,
    shown: csr_matrix | None = None,
    wrong_click_share: float | None = None,
    temperature: float = 0.05,
    least_share: float = 0.6,
    unclicked_share: float = 0.9,
    further_share: float = 0.3,
) -> Assignment:
    """Gives each query the group that its clicks, its result lists and its looks agree on.

    First the groups of the photos and documents nearest to a photo vote. From the photos that are sure then, it is
    learned which differences between photos of one group mean nothing
    (:func:`~oclear.governance.assign.likeness.honest_likeness`); with what that says of all photos it is learned again,
    three rounds in all. What a photo's looks say is learned from other photos, and multiplied with what its own clicks
    say, as independent witnesses are. How many clicks are wrong is estimated as confident learning does (Northcutt et
    al., 2021), given the belief the posterior is that of Dawid and Skene (1979) with one noise rate.

    With less than a hundred photos to learn from, the vote of the nearest stays.

    The result lists say much where the search in use is any good: what a photo shows was probably in them, and one
    need only tell it from the rest of the list.

    Neighbours are sought once: see :func:`~oclear.governance.looks.nearest` for what that costs.

    Args:
        clicks: (queries, items) click support.
        group: (items,) the items' groups.
        looks: Of items and queries.
        shown: (queries, items) not 0 where an item was shown for a query, or None where it is not known.
        wrong_click_share: Share of clicks on something else, in (0, 1); None estimates it.
        temperature: Of the similarity kernel of the vote; smaller lets only the nearest vote.
        least_share: A clicked query needs this share of the belief for its best group, in [0, 1).
        unclicked_share: One without clicks needs this stricter one.
        further_share: A photo that lies between groups it clicked belongs to each with this share of the belief, if
            all its clicked groups together have ``least_share``.
    """
    found = believe(
        clicks,
        group,
        looks,
        shown=shown,
        wrong_click_share=wrong_click_share,
        temperature=temperature,
    )
    pairs, behaviour = found.behaviour.pairs, found.behaviour.behaviour
    clicked = found.behaviour.own > 0
    several = groups_between(
        pairs,
        found.photos,
        found.documents,
        clicked,
        found.belief,
        further_share,
        least_share,
    )
    has_picture: NDArray[np.bool_] = np.any(looks.queries, axis=1)
    needed = np.where(behaviour.clicked, least_share, unclicked_share)
    return decide(found.behaviour, found.belief, several, has_picture, needed)


@dataclass(frozen=True, eq=False)
class Beliefs:
    """What photos are believed to show.

    Args:
        behaviour: Clicks and lists of the pairs of photo and group that were weighed.
        belief: (pairs,) in [0, 1]; those of a photo sum to 1 less what it may show else.
        photos: (queries, d) their vectors, and
        documents: (groups, d) those of the groups, each less the mean of its side.
    """

    behaviour: PairBehaviour
    belief: NDArray[np.float64]
    photos: NDArray[np.float32]
    documents: NDArray[np.float32]

    def in_clicks(self) -> NDArray[np.float64]:
        """(photos,) the belief in what a photo clicked, in [0, 1]: how likely its clicks are right; 0 without any."""
        return self.behaviour.pairs.sums(self.belief * self.behaviour.own)


def believe(
    clicks: csr_matrix,
    group: NDArray[np.int64],
    looks: Looks,
    *,
    shown: csr_matrix | None = None,
    wrong_click_share: float | None = None,
    temperature: float = 0.05,
) -> Beliefs:
    """The beliefs that :func:`assign_queries` decides by; arguments as there."""
    count = len(group)
    into_groups = csr_matrix(
        (np.ones(count), (np.arange(count), group)), shape=(count, int(group.max()) + 1)
    )
    behaviour = Behaviour.of(clicks, shown, into_groups)
    around = neighbour_votes(behaviour.own, into_groups, looks, temperature)
    lists = [] if behaviour.listed is None else [behaviour.listed]
    pairs = Pairs.entries_of([behaviour.own, around, *lists])
    of_pairs = behaviour.on(pairs)
    belief = first_belief(of_pairs, around, temperature, wrong_click_share)
    photos, documents = _by_side(looks, into_groups)
    fold = folds_of(looks.queries)
    for _ in range(_ROUNDS):
        if _teachers(sure_labels(pairs, belief)) < _LEAST_TEACHERS:
            break
        likeness = honest_likeness(pairs, belief, photos, documents, fold)
        belief = _belief(of_pairs, likeness, wrong_click_share)
    return Beliefs(of_pairs, belief, photos, documents)


def _by_side(
    looks: Looks, into_groups: csr_matrix
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(queries, d) photos and (groups, d) mean documents, each less the mean of all of its side.

    Shop pictures differ from visitors' photos in ways that have nothing to do with what they show.
    """
    photos, items = (_centred(vectors) for vectors in (looks.queries, looks.items))
    pictures = into_groups.T @ items.any(axis=1).astype(np.float32)
    documents = (into_groups.T @ items) / np.maximum(pictures, 1)[:, None]
    return photos, documents.astype(np.float32)


def _centred(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    seen: NDArray[np.bool_] = np.any(vectors, axis=1)
    mean = vectors.sum(axis=0) / max(int(seen.sum()), 1)
    return normalized(np.where(seen[:, None], vectors - mean, 0))


def _belief(
    behaviour: PairBehaviour, likeness: NDArray[np.float64], wrong_click_share: float | None
) -> NDArray[np.float64]:
    """(pairs,) P(group | clicks, lists, looks), with the sharpness that foresees clicks best."""
    pairs = behaviour.pairs
    found, best_fit = np.empty(0), -np.inf
    prior = np.log(1 - _NOTHING) + behaviour.prior()
    nothing = np.full(pairs.photos, np.log(_NOTHING))
    for sharpness in _SHARPNESS:
        scores = sharpness * likeness + prior
        listed = behaviour.listed_share(pairs.shares(scores, nothing))
        scores = scores + behaviour.lists(listed)
        without_clicks = pairs.shares(scores, nothing)
        wrong = behaviour.wrong_share(without_clicks)
        fit = behaviour.click_fit(without_clicks, wrong)
        if fit > best_fit:
            best_fit = fit
            on_group, elsewhere = behaviour.clicks(
                wrong if wrong_click_share is None else wrong_click_share
            )
            found = pairs.shares(scores + on_group, nothing + elsewhere)
    return found


def _teachers(labels: NDArray[np.int64]) -> int:
    """How many photos share their label with another one."""
    sizes = np.bincount(labels[labels >= 0])
    return int(sizes[sizes > 1].sum())
