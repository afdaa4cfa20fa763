"""What the encoder finds without any training: its features, each side less its mean, and the nearest vector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oclear.evaluation.comparison.clicked_pairs import Pairs
from oclear.evaluation.ranking import Ranking, rank

Vectors = NDArray[np.float32]


def centred(vectors: Vectors, mean: Vectors) -> Vectors:
    """Vectors (n, d) less ``mean`` (d,), of length 1. Photos and catalogue pictures differ as a whole."""
    shifted = vectors - mean
    lengths = np.linalg.norm(shifted, axis=1, keepdims=True)
    found: Vectors = (shifted / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


def nearest_document(
    asked: Vectors, photos: Vectors, documents: Vectors, item_of: NDArray[np.int64], k: int
) -> Ranking:
    """Items by their nearest catalogue picture.

    Args:
        asked: (q, d) features of the photos to answer.
        photos: (n, d) of the training photos, for the mean of that side.
        documents: (m, d) of the catalogue pictures.
        item_of: (m,) the item of each.
        k: Items to find.
    """
    queries = centred(asked, photos.mean(axis=0))
    return rank(queries, centred(documents, documents.mean(axis=0)), item_of, k)


def nearest_photo(asked: Vectors, photos: Vectors, pairs: Pairs, k: int) -> Ranking:
    """Items by the nearest training photo that is paired with them; items without a photo are never found.

    Args:
        asked: (q, d) features of the photos to answer.
        photos: (n, d) of the training photos.
        pairs: (p, 2) rows of ``photos`` and items, as clicked.
        k: Items to find.
    """
    mean = photos.mean(axis=0)
    return rank(centred(asked, mean), centred(photos, mean)[pairs[:, 0]], pairs[:, 1], k)
