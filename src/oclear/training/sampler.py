"""Which samples make a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oclear.errors import InputError
from oclear.training.samples import Members, SampleSet


class Sampler(Protocol):
    """Says which samples each step learns from."""

    num_queries: int

    @property
    def num_classes(self) -> int:
        """IDs that are drawn."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many queries are drawn as there are."""
        ...

    def draw(self, step: int) -> NDArray[np.int64]:
        """The sample rows of a step, queries first; a function of the step alone, asked for by several threads."""
        ...


Sampling = Callable[[SampleSet, int, float, tuple[int, ...]], Sampler]
"""Makes a sampler of samples, batch size, document share and seed."""


class BalancedSampler:
    """Draws IDs evenly, for each one a query, and for the first of them a document too: popular IDs do not rule.

    A draw costs O(batch), whatever the number of samples. The draw of a step depends on (seed, step) alone, so a
    resumed run goes on with the very batches of the unbroken one, without replaying any.

    Args:
        samples: The samples.
        batch_size: Samples in a batch.
        document_share: Of the batch, in [0, 0.5]; the rest are queries.
        seed: Of the draws.
    """

    def __init__(
        self,
        samples: SampleSet,
        batch_size: int,
        document_share: float,
        seed: int | tuple[int, ...],
    ) -> None:
        self.num_documents = max(1, round(document_share * batch_size)) if document_share else 0
        self.num_queries = batch_size - self.num_documents
        self.seed = seed if isinstance(seed, tuple) else (seed,)
        self._queries = samples.members(document=False)
        self._documents = samples.members(document=True)
        self._classes = np.flatnonzero((self._queries.counts > 0) | (self._documents.counts > 0))
        self._photos = int((~samples.is_document).sum())
        if not self._photos:
            raise InputError(
                "no category ID has a query photo, so there is nothing to learn from",
                "Look into the summary in manifest.json of the categorize folder: why were queries left out?",
            )

    @property
    def num_classes(self) -> int:
        """IDs that are drawn."""
        return len(self._classes)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many queries are drawn as there are."""
        return max(1, -(-self._photos // self.num_queries))

    def draw(self, step: int) -> NDArray[np.int64]:
        """The sample rows of a step: queries first, then documents; at most a batch."""
        rng = np.random.default_rng((*self.seed, step))
        classes = self._classes[rng.integers(len(self._classes), size=self.num_queries)]
        queries = _draw_members(self._queries, classes, rng)
        documents = _draw_members(self._documents, classes[: self.num_documents], rng)
        return np.concatenate([queries, documents])


def _draw_members(
    members: Members, classes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One member of each class, none where it has none."""
    starts = members.starts[classes]
    counts = members.starts[classes + 1] - starts
    offsets = (rng.random(len(classes)) * counts).astype(np.int64)
    rows: NDArray[np.int64] = members.rows[(starts + offsets)[counts > 0]]
    return rows
