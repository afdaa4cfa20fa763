"""Clicks as other methods take them: every clicked pair is right, every item is a class of its own."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import InputError
from oclear.tables import Exposures, Items, Pictures, Queries, Truth, index_of
from oclear.training import SampleSet

Pairs = NDArray[np.int64]


def clicked_pairs(log: Exposures, queries: Queries, items: Items) -> Pairs:
    """(n, 2) rows of ``queries`` and ``items``: who clicked what, each pair once."""
    clicked = log.table.filter(pc.field("clicked"))
    pairs = np.stack(
        [
            index_of(clicked["query_id"], queries.table["query_id"]),
            index_of(clicked["item_id"], items.table["item_id"]),
        ],
        axis=1,
    )
    found: Pairs = np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0)
    return found


def true_pairs(truth: Truth, queries: Queries, items: Items) -> Pairs:
    """(n, 2) rows of ``queries`` and ``items``: what each photo shows."""
    indptr, rows = truth.pairs_for(queries, items)
    return np.stack([np.repeat(np.arange(len(queries)), np.diff(indptr)), rows], axis=1)


def pair_samples(pairs: Pairs, photos: Pictures, documents: Pictures) -> SampleSet:
    """Pairs as samples with one label each: a photo of two pairs is two samples.

    Args:
        pairs: (n, 2) rows of the queries and of the items.
        photos: Pictures of the queries.
        documents: Pictures of the items. Those of items in no pair are left out.

    Raises:
        InputError: There is no pair.
    """
    if not len(pairs):
        raise InputError("not one photo is paired with an item", "Give a log with clicks.")
    # A query has one picture, so its row is that of the picture, wherever the table keeps it.
    photo_of = np.full(int(max(pairs[:, 0].max(), photos.rows.max())) + 1, -1)
    photo_of[photos.rows] = np.arange(len(photos))
    items, classes = np.unique(pairs[:, 1], return_inverse=True)
    is_paired = np.isin(documents.rows, items)
    of_documents = np.searchsorted(items, documents.rows[is_paired])
    labels = np.concatenate([classes, of_documents])
    return SampleSet(
        category_ids=items,
        is_document=np.arange(len(labels)) >= len(pairs),
        picture=np.concatenate([photo_of[pairs[:, 0]], np.flatnonzero(is_paired)]),
        labels=labels[:, None],
        label_weights=np.ones((len(labels), 1), np.float32),
        purity=np.ones(len(items), np.float32),
    )
