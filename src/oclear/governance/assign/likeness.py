"""How much better a photo fits what is known of a group than it fits anything: a learned likelihood ratio.

Photos of one thing differ by light, side, hand and background. Which of these differences mean nothing is learned from
photos that are believed to show one group (:class:`~oclear.governance.matching.spaces.Whitening`); the rest is set
against how much groups differ from each other, direction by direction. This is probabilistic linear discriminant
analysis (Ioffe, 2006; Prince and Elder, 2007): photos lie normally around the place of their group, and places around
the mean of all. A group known from one document may lie anywhere near it; one known from thirty
photos is where they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.assign.pairs import Pairs
from oclear.governance.matching.spaces import Whitening

# As many photos as the documents of a group count for: they are right, but they are not photos.
_DOCUMENT_COUNTS = 2.0
# Belief from which a photo helps to learn which differences mean nothing.
_SURE = 0.6
# Variance between groups, where that within them is 1; a direction with less tells nothing apart.
_LEAST_BETWEEN = 1e-3
_PAIRS_AT_ONCE = 1 << 16
_FOLDS = 5


def folds_of(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) in 0 ... 4, drawn from the vectors themselves: row order does not matter, equal rows stay together."""
    words = np.ascontiguousarray(vectors, np.float32).view(np.uint32).astype(np.uint64)
    odd = np.random.default_rng(0).integers(1, 1 << 62, size=words.shape[1], dtype=np.uint64) | 1
    high = (words * odd).sum(axis=1, dtype=np.uint64) >> np.uint64(33)
    folds: NDArray[np.int64] = (high % np.uint64(_FOLDS)).astype(np.int64)
    return folds


def sure_labels(pairs: Pairs, belief: NDArray[np.float64]) -> NDArray[np.int64]:
    """(photos,) the group that a photo is surely believed to show, -1 where there is none."""
    labels = np.full(pairs.photos, -1)
    sure = belief >= _SURE
    labels[pairs.photo[sure]] = pairs.group[sure]
    return labels


def honest_likeness(
    pairs: Pairs,
    belief: NDArray[np.float64],
    photos: NDArray[np.float32],
    documents: NDArray[np.float32],
    fold: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Log-likelihood ratio of each photo for each of its groups, learned without the photo's own fold.

    A photo that had helped to learn the place and the spread of a group would confirm its own label, a wrong one most.

    Args:
        pairs: What to judge.
        belief: (pairs,) in [0, 1], believed so far, to learn from.
        photos: (photos, d) vectors, less the mean of their side; zeros where there is no picture.
        documents: (groups, d) the same of the mean document of each group.
        fold: (photos,) small numbers from 0.

    Returns:
        (pairs,) natural logarithms; 0 where the photo fits the group as well as a group of which nothing is known.
    """
    has_photo, has_document = photos.any(axis=1), documents.any(axis=1)
    labels = sure_labels(pairs, belief)
    known_documents = np.flatnonzero(has_document)
    everyone = np.concatenate([photos[has_photo], documents[has_document]])
    ratio = np.zeros(len(pairs.photo))
    for held in np.unique(fold):
        learns = has_photo & (fold != held)
        taught = np.where(learns, labels, -1)[has_photo]
        space = Whitening.fit(everyone, np.concatenate([taught, known_documents]))
        placed = space(everyone)
        spread, directions = np.linalg.eigh(np.atleast_2d(np.cov(placed.T, bias=True)))
        between = np.maximum(spread - 1, _LEAST_BETWEEN).astype(np.float32)
        turn = directions.astype(np.float32)
        places = _Places.learn(
            pairs, belief, learns, space(photos) @ turn, space(documents) @ turn, between
        )
        asked = np.flatnonzero((has_photo & (fold == held))[pairs.photo])
        ratio[asked] = places.log_ratio(pairs.photo[asked], pairs.group[asked])
    return ratio


@dataclass(frozen=True, eq=False)
class _Places:
    """Where groups lie, in a space where photos differ by one unit within a group.

    Args:
        photos: (photos, d).
        between: (d,) variance of the places of groups.
        mean: (groups, d) the expected place of each.
        variance: (groups, d) of a photo of the group: 1, and what is not known of its place.
    """

    photos: NDArray[np.float32]
    between: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]

    @classmethod
    def learn(
        cls,
        pairs: Pairs,
        belief: NDArray[np.float64],
        learns: NDArray[np.bool_],
        photos: NDArray[np.float32],
        documents: NDArray[np.float32],
        between: NDArray[np.float32],
    ) -> _Places:
        teaches = learns[pairs.photo]
        weight = np.where(teaches, belief, 0).astype(np.float32)
        shape = (pairs.groups, pairs.photos)
        members = csr_matrix((weight, (pairs.group, pairs.photo)), shape=shape)
        total = members @ photos + np.float32(_DOCUMENT_COUNTS) * documents
        count = pairs.sums_by_group(weight) + _DOCUMENT_COUNTS * documents.any(axis=1)
        unknown = between / (count.astype(np.float32)[:, None] * between + 1)
        return cls(photos, between, unknown * total, 1 + unknown)

    def log_ratio(self, photo: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) of photos and groups; 0 for a group of which nothing is known."""
        anything = (self.photos**2 / (1 + self.between) + np.log1p(self.between)).sum(axis=1)
        precision, level = 1 / self.variance, np.log(self.variance).sum(axis=1)
        ratio = np.empty(len(photo))
        for start in range(0, len(photo), _PAIRS_AT_ONCE):
            p, g = photo[start : start + _PAIRS_AT_ONCE], group[start : start + _PAIRS_AT_ONCE]
            off = self.photos[p] - self.mean[g]
            fit = np.einsum("ij,ij,ij->i", off, off, precision[g]) + level[g]
            ratio[start : start + len(p)] = (anything[p] - fit) / 2
        return ratio
