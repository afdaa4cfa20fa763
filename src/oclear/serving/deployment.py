"""A model with its store, warmed up and ready to answer; a request takes the pair once and keeps it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from oclear.model import TwoTowerModel
from oclear.serving.batcher import Batcher
from oclear.serving.calibration import paying_batch
from oclear.serving.config import ServeConfig
from oclear.serving.encoder import make_encoder
from oclear.serving.metrics import Metrics
from oclear.serving.source import Loaded
from oclear.store.confidence import Confidence
from oclear.store.contract import DocumentStore
from oclear.store.judging import threshold_of

_CLOSING_LOOK = 0.05


class Deployment:
    """What answers requests.

    Args:
        loaded: The model and its store.
        config: Of the server.
        metrics: Told of batches.

    Raises:
        InputError: Photos are to be rejected, and the index is not calibrated.
    """

    def __init__(self, loaded: Loaded, config: ServeConfig, metrics: Metrics) -> None:
        self.model: TwoTowerModel = loaded.model
        self.store: DocumentStore = loaded.store
        self.confidence: Confidence | None = loaded.confidence
        self.threshold = threshold_of(config.reject_below, loaded.confidence)
        encoder = make_encoder(loaded.model, config.encoder)
        size = loaded.model.preprocessing.size
        batch = config.encoder.batch or paying_batch(encoder, size)
        self.description = f"{encoder.name}, {encoder.workers} at once, batches of up to {batch}"
        self.batcher = Batcher(
            encoder, batch=batch, queue=config.limits.queue, observe=metrics.batch
        )
        self._users = 0
        # The first search and the first document are slow: not those of a user.
        vectors = encoder(np.zeros((1, 3, size, size), np.uint8))
        if self.store.count_vectors():
            self.store.search(vectors, 1)

    @contextmanager
    def in_use(self) -> Iterator[Deployment]:
        """Keeps the deployment open while the block runs; to be entered on the event loop."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1

    async def retire(self) -> None:
        """Closes it when the last request that took it has its answer."""
        while self._users:
            await asyncio.sleep(_CLOSING_LOOK)
        await asyncio.to_thread(self.batcher.close)
        close = getattr(self.store, "close", None)
        if close is not None:
            await asyncio.to_thread(close)
