"""What a stage learns from: caches at the level that it leaves frozen, the samples that can be read, their batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from oclear.errors import InputError
from oclear.model import TwoTowerModel
from oclear.model.text_encoder import TextFeatures
from oclear.output import atomic_file
from oclear.progress import Reporter
from oclear.tables import Pictures, SkippedImages
from oclear.training.augmentation import Augmentation
from oclear.training.cached_features import Level, PictureCache, TextCache
from oclear.training.cached_source import CachedSource
from oclear.training.data import TrainingData
from oclear.training.feature_cache import cache_pictures, cache_texts, refuse_too_large
from oclear.training.pixel_source import PixelSource
from oclear.training.ranks import Ranks
from oclear.training.sampler import BalancedSampler, Sampler, Sampling
from oclear.training.samples import SampleSet
from oclear.training.sources import Source
from oclear.training.stages import StageConfig, TrainConfig, Trains

CACHED_LEVEL: dict[Trains, Level | None] = {
    "proxies": "embedding",
    "heads": "pooled",
    "fusion": "spatial",
    "encoder": None,
}


@dataclass(frozen=True)
class StageData:
    """What a stage learns from.

    Attributes:
        samples: Those whose picture can be decoded.
        sampler: Draws batches of them.
        source: Gives their inputs.
        level: What these are; None for pixels.
        queries: Pictures of the photos, and
        documents: of the items, that samples speak of.
    """

    samples: SampleSet
    sampler: Sampler
    source: Source
    level: Level | None
    queries: Pictures
    documents: Pictures


class StageOpener:
    """Opens the data of each stage in turn. All methods are collective.

    Args:
        model: Its frozen parts give the features.
        data: The run's.
        config: The curriculum.
        folder: Of the run: keeps which pictures can be read, and lists those that cannot.
        cache: For features.
        reporter: Says what happens.
        ranks: Who computes.
        sampling: Makes the sampler of each stage.
    """

    def __init__(
        self,
        model: TwoTowerModel,
        data: TrainingData,
        config: TrainConfig,
        folder: Path,
        cache: Path,
        reporter: Reporter,
        ranks: Ranks,
        sampling: Sampling = BalancedSampler,
    ) -> None:
        self.model, self.data, self.config, self.ranks = model, data, config, ranks
        self.sampling = sampling
        self.cache, self.reporter = cache, reporter
        self.skipped = SkippedImages()
        self._readable_file = folder / "readable.npz"
        self._skipped_file = folder / "skipped.parquet"
        self.texts = cache_texts(model, data.texts, cache, ranks)

    def restore(self) -> None:
        """Knows what an earlier part of the run found: stages on pixels do not look at all pictures again."""
        if self._skipped_file.is_file():
            self.skipped = SkippedImages.read(self._skipped_file)

    def start_heads(self, level: Level | None) -> None:
        """Heads that are new start from the training pictures, and the concept from the texts.

        Args:
            level: Of the first stage, whose features are computed then, not another level's.
        """
        caches = self._open_caches("spatial" if level == "spatial" else "pooled")
        self.model.heads.fit_start(*(_some_features(cache) for cache in caches))
        if self.texts is not None and (self.texts.lengths > 0).any():
            self.model.concept.fit_start(*_some_texts(self.texts))
            if caches[1].spatial is not None:
                rows = np.flatnonzero(caches[1].readable)
                some = caches[1].image_rows(rows[:: -(-len(rows) // 256) or 1])
                self.model.fusion.fit_start(some.spatial)

    def open(self, stage: StageConfig, number: int) -> StageData:
        """The data of a stage.

        Args:
            stage: Its configuration.
            number: Its place in the curriculum.

        Raises:
            InputError: Nothing to learn from, or fewer samples in a batch than ranks.
        """
        level = CACHED_LEVEL[stage.trains]
        caches = None
        if level or not self._readable_file.is_file():
            caches = self._open_caches(level or "pooled")
        samples = self._readable()
        if stage.samples == "medium":
            samples = samples.medium(self.config.medium_share)
        # Two stages of one size must not see the same batches and crops.
        seed = (self.config.seed, number)
        sampler = self.sampling(samples, stage.batch_size, stage.document_share, seed)
        if sampler.num_queries < self.ranks.count:
            raise InputError(
                f"stage '{stage.name}': a batch of {stage.batch_size} is too small for {self.ranks.count} ranks",
                "batch_size counts the samples of all ranks: raise it.",
            )
        data = replace(self.data, samples=samples)
        if level is None or caches is None:
            pixels = self.model.preprocessing
            pixels = pixels.model_copy(update={"size": stage.trained_size(pixels.size)})
            augmentation = Augmentation(stage.augmentation or self.config.augmentation, pixels)
            source: Source = PixelSource(
                self.model, data, sampler, augmentation, self.texts, seed, self.ranks
            )
        else:
            open_cache = partial(self._cache, level, skipped=SkippedImages())
            source = CachedSource(data, sampler, *caches, self.texts, open_cache, self.ranks)
        return StageData(samples, sampler, source, level, data.queries, data.documents)

    def _open_caches(self, level: Level) -> tuple[PictureCache, PictureCache]:
        """Features of all training photos and documents; too many unreadable pictures stop the run."""
        # Maps that lie there already ask for no more room.
        if level == "spatial" and not any(self.cache.glob("document-spatial-*/done.json")):
            refuse_too_large(self.model, len(self.data.documents), self.cache)
        self.skipped = SkippedImages()
        queries = self._cache(level, self.data.queries, skipped=self.skipped)
        documents = self._cache(level, self.data.documents, skipped=self.skipped)
        total = len(self.data.queries) + len(self.data.documents)
        self.skipped.check(total, self.config.max_bad_images)
        if self.ranks.is_main:
            self.skipped.write(self._skipped_file)
            with atomic_file(self._readable_file) as part, part.open("wb") as file:
                np.savez(file, queries=queries.readable, documents=documents.readable)
        self.ranks.wait()
        return queries, documents

    def _cache(self, level: Level, pictures: Pictures, *, skipped: SkippedImages) -> PictureCache:
        with self.reporter.task(f"{pictures.side} features", len(pictures)) as task:
            return cache_pictures(
                self.model,
                pictures,
                self.texts,
                self.cache,
                level=level,
                skipped=skipped,
                progress=task.advance,
                ranks=self.ranks,
            )

    def _readable(self) -> SampleSet:
        """The samples whose picture can be decoded."""
        samples = self.data.samples
        with np.load(self._readable_file) as found:
            queries, documents = found["queries"], found["documents"]
        keep = np.empty(len(samples), bool)
        keep[samples.is_document] = documents[samples.picture[samples.is_document]]
        keep[~samples.is_document] = queries[samples.picture[~samples.is_document]]
        return samples.select(keep)


def _some_features(cache: PictureCache, most: int = 50_000) -> torch.Tensor:
    """Features of evenly chosen readable pictures: enough for means and directions, whatever the catalogue's size."""
    rows = np.flatnonzero(cache.readable)
    return cache.rows(rows[:: -(-len(rows) // most) or 1])


def _some_texts(texts: TextCache, most: int = 512) -> TextFeatures:
    """Token features of evenly chosen texts."""
    rows = np.flatnonzero(texts.lengths > 0)
    return texts.rows(rows[:: -(-len(rows) // most)])
