"""Inputs from cached features, mapped from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.tables import Pictures
from oclear.training.cached_features import PictureCache, TextCache
from oclear.training.data import TrainingData
from oclear.training.embedder import Inputs
from oclear.training.ranks import Ranks
from oclear.training.sampler import Sampler
from oclear.training.sources import BATCH_SIZE, Rows, begun_ahead

_THREADS = 4


class CachedSource:
    """A :class:`~oclear.training.sources.Source` of features that frozen parts of the model gave.

    Args:
        data: The run's data.
        sampler: Draws the batches.
        queries: Cached features of the training photos.
        documents: Cached features of the documents.
        texts: Cached token features of the items.
        open_cache: Opens the cached features of other photos.
        ranks: Who shares a batch.
    """

    def __init__(
        self,
        data: TrainingData,
        sampler: Sampler,
        queries: PictureCache,
        documents: PictureCache,
        texts: TextCache | None,
        open_cache: Callable[[Pictures], PictureCache],
        ranks: Ranks,
    ) -> None:
        self.data, self.sampler, self.ranks = data, sampler, ranks
        self._queries, self._documents, self._texts = queries, documents, texts
        self._open_cache = open_cache

    def steps(self, start: int, stop: int) -> Iterator[tuple[Rows, Inputs]]:
        """See :class:`~oclear.training.sources.Source`."""
        # Features that memory does not hold come from disk in random order: several reads at a time, and ahead.
        with ThreadPoolExecutor(_THREADS) as pool:

            def begin(step: int) -> Future[tuple[Rows, Inputs]]:
                return pool.submit(self._step, step)

            for pending in begun_ahead(begin, range(start, stop)):
                yield pending.result()

    def samples(self, rows: Rows) -> Inputs:
        """See :class:`~oclear.training.sources.Source`."""
        is_document = self.data.samples.is_document[rows]
        pictures = self.data.samples.picture[rows]
        photos, documents = pictures[~is_document], pictures[is_document]
        return self._inputs(is_document, self._queries, photos, documents)

    def photos(self, photos: Pictures, rows: Rows) -> Iterator[tuple[Rows, Inputs]]:
        """See :class:`~oclear.training.sources.Source`."""
        cache = self._open_cache(photos)
        for batch in _batches(rows[cache.readable[rows]]):
            yield batch, self._inputs(np.zeros(len(batch), bool), cache, batch, batch[:0])

    def documents(self, rows: Rows, *, with_texts: bool = False) -> Iterator[tuple[Rows, Inputs]]:
        """See :class:`~oclear.training.sources.Source`."""
        for batch in _batches(rows[self._documents.readable[rows]]):
            is_document = np.ones(len(batch), bool)
            inputs = self._inputs(is_document, self._queries, batch[:0], batch)
            is_bare = inputs.tokens is None and with_texts
            yield batch, self._with_texts(inputs, batch) if is_bare else inputs

    def _step(self, step: int) -> tuple[Rows, Inputs]:
        rows = self.sampler.draw(step)[self.ranks.rank :: self.ranks.count]
        return rows, self.samples(rows)

    def _inputs(
        self,
        is_document: NDArray[np.bool_],
        photo_cache: PictureCache,
        photos: Rows,
        documents: Rows,
    ) -> Inputs:
        spatial = self._documents.spatial
        inputs = Inputs(
            torch.from_numpy(is_document),
            queries=torch.from_numpy(photo_cache.features[photos]),
            documents=torch.from_numpy(self._documents.features[documents]),
            spatial=None if spatial is None else torch.from_numpy(spatial[documents]),
        )
        return inputs if spatial is None else self._with_texts(inputs, documents)

    def _with_texts(self, inputs: Inputs, documents: Rows) -> Inputs:
        if self._texts is None:
            return inputs
        tokens, mask = self._texts.rows(self.data.documents.rows[documents])
        return replace(inputs, tokens=tokens, mask=mask)


def _batches(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows), BATCH_SIZE):
        yield rows[start : start + BATCH_SIZE]
