"""Inputs from pictures, decoded and augmented while the step before is computed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image

from oclear.model import TwoTowerModel
from oclear.model.encode import load_plain, pixel_batches
from oclear.tables import Pictures, SkippedImages
from oclear.training.augmentation import Augmentation
from oclear.training.cached_features import TextCache
from oclear.training.data import TrainingData
from oclear.training.embedder import Inputs
from oclear.training.ranks import Ranks
from oclear.training.sampler import Sampler
from oclear.training.sources import Rows, begun_ahead


class PixelSource:
    """A :class:`~oclear.training.sources.Source` of pictures.

    What a step gets depends on (seed, step), and a picture's augmentation on its place in the whole batch too.

    Args:
        model: For its preprocessing.
        data: The run's data.
        sampler: Draws the batches.
        augmentation: Of the pictures that are learned from.
        texts: Cached token features of the items.
        seed: Of the augmentation.
        ranks: Who shares a batch.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        data: TrainingData,
        sampler: Sampler,
        augmentation: Augmentation,
        texts: TextCache | None,
        seed: tuple[int, ...],
        ranks: Ranks,
    ) -> None:
        self.data, self.sampler, self.ranks = data, sampler, ranks
        self._augmentation, self._texts, self._seed = augmentation, texts, seed
        self._load_plain = load_plain(model)
        self._photos = np.flatnonzero(~data.samples.is_document)

    def steps(self, start: int, stop: int) -> Iterator[tuple[Rows, Inputs]]:
        """See :class:`~oclear.training.sources.Source`."""
        with ThreadPoolExecutor(max(2, torch.get_num_threads())) as pool:

            def begin(step: int) -> tuple[Rows, list[Future[torch.Tensor]]]:
                batch = self.sampler.draw(step)
                mine = range(self.ranks.rank, len(batch), self.ranks.count)
                rows = batch[mine.start :: mine.step]
                pixels = [
                    pool.submit(self._augmented, int(row), step, place)
                    for row, place in zip(rows, mine, strict=True)
                ]
                return rows, pixels

            for rows, pixels in begun_ahead(begin, range(start, stop)):
                yield rows, self._inputs(rows, [pending.result() for pending in pixels])

    def samples(self, rows: Rows) -> Inputs:
        """See :class:`~oclear.training.sources.Source`."""
        return self._inputs(rows, [self._load_plain(*self._picture(int(row))) for row in rows])

    def photos(self, photos: Pictures, rows: Rows) -> Iterator[tuple[Rows, Inputs]]:
        """See :class:`~oclear.training.sources.Source`."""
        skipped = SkippedImages()
        for batch, pixels in pixel_batches(photos, rows, self._load_plain, skipped=skipped):
            yield batch, Inputs(torch.zeros(len(batch), dtype=torch.bool), pixels)

    def documents(self, rows: Rows, *, with_texts: bool = False) -> Iterator[tuple[Rows, Inputs]]:
        """See :class:`~oclear.training.sources.Source`."""
        skipped, documents = SkippedImages(), self.data.documents
        for batch, pixels in pixel_batches(documents, rows, self._load_plain, skipped=skipped):
            yield batch, self._with_texts(torch.ones(len(batch), dtype=torch.bool), pixels, batch)

    def _inputs(self, rows: Rows, pixels: list[torch.Tensor]) -> Inputs:
        samples = self.data.samples
        is_document = samples.is_document[rows]
        documents = samples.picture[rows][is_document]
        size = self._augmentation.preprocessing.size
        stacked = torch.stack(pixels) if pixels else torch.empty(0, 3, size, size).byte()
        return self._with_texts(torch.from_numpy(is_document), stacked, documents)

    def _with_texts(
        self, is_document: torch.Tensor, pixels: torch.Tensor, documents: Rows
    ) -> Inputs:
        tokens, mask = None, None
        if self._texts is not None:
            tokens, mask = self._texts.rows(self.data.documents.rows[documents])
        return Inputs(is_document, pixels, tokens=tokens, mask=mask)

    def _picture(self, row: int) -> tuple[Pictures, int]:
        samples = self.data.samples
        pictures = self.data.documents if samples.is_document[row] else self.data.queries
        return pictures, int(samples.picture[row])

    def _augmented(self, row: int, step: int, place: int) -> torch.Tensor:
        pictures, picture = self._picture(row)
        image = pictures.load(picture, target_size=self._augmentation.decoded_size)
        draw_photo = self._draw_photo if self.data.samples.is_document[row] else None
        return self._augmentation(image, (*self._seed, step, place), draw_photo)

    def _draw_photo(self, rng: np.random.Generator) -> Image.Image | None:
        """A random training photo, small: it will be out of focus behind a document's thing."""
        if not len(self._photos):
            return None
        row = self._photos[rng.integers(len(self._photos))]
        pictures, picture = self._picture(int(row))
        return pictures.load(picture, target_size=self._augmentation.preprocessing.size // 2)
