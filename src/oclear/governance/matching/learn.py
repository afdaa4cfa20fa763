"""Learning to tell products apart from the shop's own identity columns, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_matrix

from oclear.governance.evidence import Edges
from oclear.governance.matching.candidates import neighbour_pairs, unique_pairs
from oclear.governance.matching.comparisons import Comparisons, cosines, distances
from oclear.governance.matching.matcher import Matcher
from oclear.governance.matching.spaces import Whitening
from oclear.governance.merge import Scores, merge_items

_FOLDS = 5
# Log-odds above which a round merges: between rounds a few wrong groups do less harm than few groups.
_MARGIN_BETWEEN_ROUNDS = 1.0
_MARGINS = np.arange(0, 6.1, 0.5)


class MatchingConfig(BaseModel):
    """How pairs of items are judged."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: float = Field(
        default=0.985, gt=0.5, lt=1, description="share of right pairs to aim at, by held-out keys"
    )
    neighbours: int = Field(default=20, ge=1, le=200, description="candidates of an item a space")
    rounds: int = Field(default=3, ge=1, description="of learning from what was merged")
    least_pairs: int = Field(
        default=50, ge=10, description="pairs with equal keys needed to learn at all"
    )


@dataclass(frozen=True, eq=False)
class Matches:
    """Judged pairs.

    Args:
        a: (pairs,) item rows, each smaller than its partner.
        b: (pairs,) item rows.
        log_odds: (pairs,) that the two are one product.
        margin: Log-odds from which pairs speak for a merge, chosen to meet the precision aimed at.
        comparisons: What the judgement comes from.
        matcher: The model.
        precision: Share of the merged pairs with known keys whose keys are equal, when no key is used to merge.
        recall: Share of the pairs with equal keys that are merged then.
        labelled: Pairs with equal keys and with differing keys that it learned from.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    log_odds: NDArray[np.float32]
    margin: float
    comparisons: Comparisons
    matcher: Matcher
    precision: float
    recall: float
    labelled: tuple[int, int]

    def scores(self) -> Scores:
        """What merging goes by."""
        return Scores(self.a, self.b, self.log_odds - np.float32(self.margin))


def key_answers(
    keys: Sequence[NDArray[np.int64]], a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(pairs,) which pairs have equal keys, and which have differing ones; those with both are neither."""
    equal, differing = np.zeros(len(a), bool), np.zeros(len(a), bool)
    for codes in keys:
        both = (codes[a] >= 0) & (codes[b] >= 0)
        equal |= both & (codes[a] == codes[b])
        differing |= both & (codes[a] != codes[b])
    return equal & ~differing, differing & ~equal


def learn_matches(
    spaces: dict[str, NDArray[np.float32] | csr_matrix],
    compare: Comparisons,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    keys: Sequence[NDArray[np.int64]],
    proofs: Sequence[Edges],
    forbidden: Sequence[NDArray[np.int64]],
    config: MatchingConfig,
) -> Matches | None:
    """Learns from items with known keys which pairs are one product.

    Equal keys teach which differences between listings mean nothing, differing ones which mean everything. The groups
    that this merges teach more of the former (self-training), so spaces and model are learned anew, a few rounds.
    Every pair is judged in spaces that were learned without its own group.

    It is taken for granted that items with a key are like those without. Where sellers who state keys also write
    better titles, the estimates are too good.

    Args:
        spaces: By name, vectors of the items (items, d) in which sameness is to be learned; rows of zeros know nothing.
        compare: Comparisons of the pairs beside those in the spaces.
        pairs: (pairs,) and (pairs,) the candidates, from :func:`candidate_pairs`.
        keys: (items,) for each identity column its value as a number, -1 for none.
        proofs: Edges of what needs no judgement.
        forbidden: See :func:`~oclear.governance.merge.merge_items`.
        config: Gates.

    Returns:
        None where too few pairs have equal keys, or none has differing ones.
    """
    a, b = pairs
    equal, differing = key_answers(keys, a, b)
    answered = np.flatnonzero(equal | differing)
    if equal.sum() < config.least_pairs or differing.sum() < config.least_pairs:
        return None
    count = len(keys[0])
    group = merge_items(count, proofs, forbidden).group

    def judged() -> tuple[Comparisons, Matcher, NDArray[np.float32]]:
        comparisons = compare.beside(_compare_in(spaces, a, b, group))
        labelled = Comparisons(comparisons.names, comparisons.values[answered])
        matcher = Matcher.fit(labelled, equal[answered])
        return comparisons, matcher, matcher.log_odds(comparisons)

    for _ in range(config.rounds - 1):
        scores = Scores(a, b, judged()[2] - np.float32(_MARGIN_BETWEEN_ROUNDS))
        group = merge_items(count, proofs, forbidden, scores).group
    comparisons, matcher, log_odds = judged()
    margin, precision, recall = _margin(a, b, log_odds, keys, count, config.precision)
    return Matches(
        a,
        b,
        log_odds,
        margin,
        comparisons,
        matcher,
        precision,
        recall,
        (int(equal.sum()), int(differing.sum())),
    )


def candidate_pairs(
    spaces: dict[str, NDArray[np.float32] | csr_matrix],
    evidence: Sequence[Edges],
    proofs: Sequence[Edges],
    forbidden: Sequence[NDArray[np.int64]],
    blocks: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs worth judging: the nearest in each space, and what any evidence ties.

    Args:
        spaces: By name, vectors (items, d).
        evidence: Edges of all kinds.
        proofs: Edges of equal keys; they teach what to look for.
        forbidden: See :func:`~oclear.governance.merge.merge_items`.
        blocks: (items,) only items of one block are paired by nearness.
        k: Neighbours of an item in each space.
    """
    count = len(blocks)
    proven = merge_items(count, proofs, forbidden).group
    groups = np.where(np.bincount(proven, minlength=1)[proven] > 1, proven, -1)
    low, high = [edges.a for edges in evidence], [edges.b for edges in evidence]
    for vectors in spaces.values():
        placed = Whitening.fit(vectors, groups)(vectors)
        near = neighbour_pairs(placed, blocks, k)
        low.append(near[0])
        high.append(near[1])
    return unique_pairs(np.concatenate(low), np.concatenate(high), count)


def _compare_in(
    spaces: dict[str, NDArray[np.float32] | csr_matrix],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    group: NDArray[np.int64],
) -> Comparisons:
    """Cosine and distance in each learned space.

    Each pair is compared in a space learned without the groups of its fold. In a space learned from its own group a
    wrong pair would confirm itself: its difference would be one of those that mean nothing.
    """
    fold = np.random.default_rng(0).integers(0, _FOLDS, int(group.max(initial=0)) + 1)[group]
    several = np.where(np.bincount(group)[group] > 1, group, -1)
    columns: dict[str, NDArray[np.floating]] = {}
    for name, vectors in spaces.items():
        likeness, distance = np.empty(len(a), np.float32), np.empty(len(a), np.float32)
        for held in range(_FOLDS):
            placed = Whitening.fit(vectors, np.where(fold == held, -1, several))(vectors)
            rows = np.flatnonzero(fold[a] == held)
            likeness[rows] = cosines(placed, a[rows], b[rows])
            distance[rows] = distances(placed, a[rows], b[rows])
        columns[f"{name}: likeness"] = likeness
        columns[f"{name}: distance"] = distance
    return Comparisons.of(columns, len(a))


def _margin(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    log_odds: NDArray[np.float32],
    keys: Sequence[NDArray[np.int64]],
    count: int,
    wanted: float,
) -> tuple[float, float, float]:
    """The least margin that surely meets the wanted precision when items are merged as though no key were known.

    Returns:
        Margin, precision and recall. Where none meets it, the least margin that is not surely worse than the best.
    """
    found = []
    for margin in _MARGINS:
        group = merge_items(count, [], [], Scores(a, b, log_odds - np.float32(margin))).group
        right, together, same = _agreement(group, keys)
        precision, recall = right / max(together, 1), right / max(same, 1)
        sure = _lower_bound(precision, together) if together else 0.0
        if sure >= wanted:
            return float(margin), precision, recall
        found.append((sure, float(margin), precision, recall))
    # Keys that are wrong themselves put what is wanted out of reach: then as good as any, and no stricter than needed.
    best = max(found)[0]
    return next(each[1:] for each in found if each[2] >= best)


def _agreement(group: NDArray[np.int64], keys: Sequence[NDArray[np.int64]]) -> tuple[int, int, int]:
    """Pairs of items with known keys: in one group with equal keys, in one group, with equal keys."""
    right = together = same = 0
    for codes in keys:
        known = codes >= 0
        both = np.stack([group[known], codes[known]])
        right += _pairs_within(both)
        together += _pairs_within(both[:1])
        same += _pairs_within(both[1:])
    return right, together, same


def _lower_bound(share: float, count: int) -> float:
    """The lower end of Wilson's interval (1927), one standard error wide on each side."""
    middle = share + 1 / (2 * count)
    spread = np.sqrt(share * (1 - share) / count + 1 / (4 * count**2))
    return float((middle - spread) / (1 + 1 / count))


def _pairs_within(labels: NDArray[np.int64]) -> int:
    """How many pairs of columns are equal."""
    sizes = np.unique(labels, axis=1, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())
