"""What a stage learns from: the inputs of its steps and of its validation.

:class:`~oclear.training.cached_source.CachedSource` reads features that were computed before,
:class:`~oclear.training.pixel_source.PixelSource` decodes pictures. Nothing here has a gradient.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from oclear.tables import Pictures
from oclear.training.embedder import Inputs

Rows = NDArray[np.int64]
Pending = TypeVar("Pending")

BATCH_SIZE = 256
"""Samples in a batch of what is not learned from."""
_STEPS_AHEAD = 3


class Source(Protocol):
    """Gives the inputs of samples, photos and documents."""

    def steps(self, start: int, stop: int) -> Iterator[tuple[Rows, Inputs]]:
        """This rank's share of the batch of each step: sample rows and their inputs.

        The whole batch is a function of (seed, step), whatever the number of ranks: rank r of n has every n-th sample
        of it, from the r-th on.
        """
        ...

    def samples(self, rows: Rows) -> Inputs:
        """Samples as they are."""
        ...

    def photos(self, photos: Pictures, rows: Rows) -> Iterator[tuple[Rows, Inputs]]:
        """Some of other photos, in batches, without those that cannot be read."""
        ...

    def documents(self, rows: Rows, *, with_texts: bool = False) -> Iterator[tuple[Rows, Inputs]]:
        """Document pictures in batches, without those that cannot be read.

        Args:
            rows: Which.
            with_texts: Give the texts too, where nothing that learns reads them.
        """
        ...


def begun_ahead(begin: Callable[[int], Pending], steps: range) -> Iterator[Pending]:
    """What ``begin`` gives for each step, begun a few steps before it is asked for."""
    left = iter(steps)
    queue = deque(begin(step) for step in islice(left, _STEPS_AHEAD))
    while queue:
        pending = queue.popleft()
        if (step := next(left, None)) is not None:
            queue.append(begin(step))
        yield pending
