"""How far apart photos and documents lie as a whole, whatever they show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FOLDS = 5


@dataclass(frozen=True)
class SideGap:
    """The gap between the embeddings of photos and documents.

    Attributes:
        centre_distance: Length of the difference of the two means, 0 to 2: the "modality gap" of Liang et al. 2022,
            "Mind the Gap" (arXiv 2203.02053).
        told_apart: AUROC of a linear classifier that tells photos from documents, on vectors it did not learn from:
            0.5 where the sides cannot be told apart, 1 where they always can (what the proxy A-distance of Ben-David
            et al. 2007, "Analysis of representations for domain adaptation", is made of).
        own_cosine: Mean cosine of a photo with its item's nearest document.
        other_cosine: Mean cosine of a photo with the nearest document of another item.
    """

    centre_distance: float
    told_apart: float
    own_cosine: float
    other_cosine: float


def side_gap(
    photos: NDArray[np.float32],
    documents: NDArray[np.float32],
    photo_items: NDArray[np.int64],
    document_items: NDArray[np.int64],
    *,
    seed: int = 0,
) -> SideGap:
    """Measures the gap.

    Args:
        photos: (q, d) of length 1.
        documents: (m, d) of length 1.
        photo_items: (q,) the true item of each; it has a document.
        document_items: (m,) the item of each.
        seed: Of the folds.

    Raises:
        ValueError: Photos of fewer than five items, or a photo's item has no document.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> things = rng.normal(size=(50, 8))
        >>> unit = lambda x: (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        >>> alike = side_gap(unit(things), unit(things), np.arange(50), np.arange(50))
        >>> apart = side_gap(unit(things), unit(things + 3), np.arange(50), np.arange(50))
        >>> alike.centre_distance, round(alike.told_apart, 1), round(apart.told_apart, 1)
        (0.0, 0.5, 1.0)
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    if len(np.unique(photo_items)) < _FOLDS:
        raise ValueError(f"photos of {_FOLDS} items at least are needed")
    is_own = photo_items[:, None] == document_items
    if not is_own.any(axis=1).all():
        raise ValueError("a photo's item has no document")
    is_document = np.repeat([0, 1], [len(photos), len(documents)])
    scores = cross_val_predict(
        # There are many more photos than documents in most shops.
        LogisticRegression(C=10.0, max_iter=1000, class_weight="balanced"),
        np.concatenate([photos, documents]),
        is_document,
        # An item's photos and documents lie in one fold: a photo that was learned would else tell of its document.
        groups=np.concatenate([photo_items, document_items]),
        cv=StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed),
        method="decision_function",
    )
    cosines = photos @ documents.T
    return SideGap(
        float(np.linalg.norm(photos.mean(axis=0) - documents.mean(axis=0))),
        float(roc_auc_score(is_document, scores)),
        float(np.where(is_own, cosines, -np.inf).max(axis=1).mean()),
        float(np.where(is_own, -np.inf, cosines).max(axis=1).mean()),
    )
