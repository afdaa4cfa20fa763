"""Spaces in which what differs between listings of one product counts for little.

One product is worded and shown differently by every seller: "emerald" here, "green" there; lighter here, mirrored
there. From items known to be one product, the directions of such differences are learned and shrunk, so that what is
left of the distance says "another product". This is the whitening of linear discriminant analysis (Fisher, 1936),
known as within-class covariance normalisation in speaker verification (Hatch et al., 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

# Words, and each sign of a script that is written without spaces by itself.
_WORD = r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+"
_LEAST_ITEMS = 3
# Rows that the shrinkage is estimated from: it changes little with more, and its cost grows with them.
_SHRINKAGE_ROWS = 5000
# Of a direction, as a share of the mean one.
_LEAST_VARIANCE = 1e-3


def bag_of_words(texts: list[str], most: int | None = None) -> csr_matrix:
    """Which words each text has, as zeros and ones (texts, words), float32.

    Args:
        texts: One an item.
        most: Keep the words found in most texts; None keeps all that three texts have.
    """
    vectorizer = CountVectorizer(
        token_pattern=_WORD, min_df=_LEAST_ITEMS, binary=True, max_features=most, dtype=np.float32
    )
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # not one word that three texts have
        return csr_matrix((len(texts), 0), dtype=np.float32)


def rare_words_first(words: csr_matrix) -> csr_matrix:
    """The bag of words with rare words weighing more (TF-IDF), rows of length one."""
    if words.shape[1] == 0:
        return words
    return TfidfTransformer().fit_transform(words)


@dataclass(frozen=True, eq=False)
class Whitening:
    """A space where the differences within groups have unit size in every direction.

    Args:
        mean: (d,) of all vectors.
        projection: (d, d).
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: NDArray[np.float32] | csr_matrix, groups: NDArray[np.int64]) -> Whitening:
        """Learns the space.

        The covariance within groups is shrunk towards a multiple of one as Ledoit and Wolf (2004) estimate. With no
        group of two, vectors only lose their mean.

        Args:
            vectors: (n, d), dense or sparse.
            groups: (n,) what is known to be one product, -1 where nothing is known.
        """
        mean = np.asarray(vectors.mean(axis=0), np.float32).ravel()
        residuals = _within_groups(vectors, groups)
        if not residuals.any():
            return cls(mean, np.eye(len(mean), dtype=np.float32))
        covariance = (residuals.T @ residuals).astype(np.float64) / len(residuals)
        some = residuals[:: max(1, len(residuals) // _SHRINKAGE_ROWS)]
        shrinkage = ledoit_wolf_shrinkage(some, assume_centered=True)
        size = np.trace(covariance) / len(covariance)
        covariance = (1 - shrinkage) * covariance + shrinkage * size * np.eye(len(covariance))
        values, directions = np.linalg.eigh(covariance)
        # Directions in which members never differ would count without bound.
        projection = directions / np.sqrt(np.maximum(values, _LEAST_VARIANCE * size))
        return cls(mean, projection.astype(np.float32))

    def __call__(self, vectors: NDArray[np.float32] | csr_matrix) -> NDArray[np.float32]:
        """(n, d) the vectors in this space; rows of zeros, which know nothing, stay zeros."""
        placed: NDArray[np.float32] = vectors @ self.projection - self.mean @ self.projection
        placed[~np.asarray((vectors != 0).sum(axis=1), bool).ravel()] = 0
        return placed


def _within_groups(
    vectors: NDArray[np.float32] | csr_matrix, groups: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(rows in groups of two and more, d) differences to the mean of their group, scaled to be unbiased."""
    _, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    rows = np.flatnonzero((groups >= 0) & (size[code] > 1))
    _, code, size = np.unique(groups[rows], return_inverse=True, return_counts=True)
    members = _dense(vectors[rows])
    means = np.zeros((len(size), members.shape[1]), np.float32)
    np.add.at(means, code, members)
    means /= size[:, None]
    scale = np.sqrt(size / np.maximum(size - 1, 1)).astype(np.float32)
    residuals: NDArray[np.float32] = (members - means[code]) * scale[code][:, None]
    return residuals


def _dense(vectors: NDArray[np.float32] | csr_matrix) -> NDArray[np.float32]:
    return np.asarray(vectors.toarray() if issparse(vectors) else vectors, np.float32)  # type: ignore[union-attr]
