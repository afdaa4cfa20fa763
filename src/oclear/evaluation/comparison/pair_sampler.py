"""Batches of pairs: photos, and for each a document of its item."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oclear.training import SampleSet
from oclear.training.sampler import Sampling

Draw = Literal["shuffled", "distinct", "grouped"]
"""How a batch is drawn.

- ``shuffled``: photos as they come, whatever they show.
- ``distinct``: no item twice, or its other document would count as wrong; as ``NO_DUPLICATES`` of
  ``sentence-transformers``.
- ``grouped``: items evenly, two photos of each, so that every photo has another of its item to be near to; as
  ``MPerClassSampler`` of ``pytorch-metric-learning``.
"""
_PHOTOS_OF_A_GROUP = 2
# Photos looked at to fill a batch of distinct items, for each of its places.
_TRIES = 8


class PairSampler:
    """Draws photos, and to the first of them documents of their items: as many as ``document_share`` asks for.

    The draw of a step depends on (seed, step) alone.

    Args:
        samples: Of which a photo with several labels is paired with any of them.
        batch_size: Samples in a batch.
        document_share: Of the batch, in [0, 0.5]; the rest are photos.
        seed: Of the draws.
        draw: How photos are drawn.
    """

    def __init__(
        self,
        samples: SampleSet,
        batch_size: int,
        document_share: float,
        seed: tuple[int, ...],
        draw: Draw,
    ) -> None:
        self.num_documents = round(document_share * batch_size)
        self.num_queries = batch_size - self.num_documents
        self.seed, self.kind, self._labels = seed, draw, samples.labels
        self._photos = np.flatnonzero(~samples.is_document)
        self._of_photos, self._documents = samples.members(False), samples.members(True)
        self._classes = np.flatnonzero(self._of_photos.counts)

    @property
    def num_classes(self) -> int:
        """Items with a photo."""
        return len(self._classes)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many photos are drawn as there are."""
        return max(1, -(-len(self._photos) // self.num_queries))

    def draw(self, step: int) -> NDArray[np.int64]:
        """The sample rows of a step: photos first, then the documents of the first of them."""
        rng = np.random.default_rng((*self.seed, step))
        photos, classes = self._drawn(rng)
        wanted = classes[: self.num_documents]
        starts, counts = self._documents.starts[wanted], self._documents.counts[wanted]
        offsets = (rng.random(len(wanted)) * counts).astype(np.int64)
        documents = self._documents.rows[(starts + offsets)[counts > 0]]
        return np.concatenate([photos, documents])

    def _drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Photos of a batch, and the class of each."""
        if self.kind == "grouped":
            groups = -(-self.num_queries // _PHOTOS_OF_A_GROUP)
            chosen = rng.permutation(self._classes)[:groups]
            classes = np.repeat(chosen, _PHOTOS_OF_A_GROUP)[: self.num_queries]
            return self._members(classes, rng), classes
        count = min(len(self._photos), self.num_queries)
        if self.kind == "shuffled":
            photos = rng.choice(self._photos, count, replace=False)
            return photos, self._class_of(photos, rng)
        tried = min(len(self._photos), _TRIES * count)
        photos = rng.choice(self._photos, tried, replace=False)
        classes = self._class_of(photos, rng)
        first = np.sort(np.unique(classes, return_index=True)[1])[:count]
        return photos[first], classes[first]

    def _members(self, classes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A photo of each class, and another one where a class comes twice in a row and has two."""
        starts, counts = self._of_photos.starts[classes], self._of_photos.counts[classes]
        first = (rng.random(len(classes)) * counts).astype(np.int64)
        is_second = np.arange(len(classes)) % _PHOTOS_OF_A_GROUP == 1
        step = 1 + (rng.random(len(classes)) * np.maximum(counts - 1, 1)).astype(np.int64)
        other = (np.roll(first, 1) + step) % counts
        found: NDArray[np.int64] = self._of_photos.rows[starts + np.where(is_second, other, first)]
        return found

    def _class_of(self, photos: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One of the classes of each photo."""
        labels = self._labels[photos]
        place = np.argmax(rng.random(labels.shape) * (labels >= 0), axis=1)
        found: NDArray[np.int64] = labels[np.arange(len(photos)), place]
        return found


def pairs(draw: Draw) -> Sampling:
    """A sampler of pairs, for a :class:`~oclear.training.Trainer`."""
    return partial(PairSampler, draw=draw)
