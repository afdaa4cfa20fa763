"""A quick training on given IDs: how well do photos find their items then?"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.commands.shared.device import place
from oclear.evaluation import Ranking, evaluate_ranking, rank
from oclear.evaluation.measures import Estimate
from oclear.governance import Categories, Looks
from oclear.governance.looks import normalized
from oclear.model import ModelConfig, TwoTowerModel
from oclear.progress import Reporter
from oclear.tables import Items, Pictures, Queries, SkippedImages, Truth
from oclear.training import StageConfig, TrainConfig, Trainer, TrainingData
from oclear.training.cached_features import PictureCache
from oclear.training.feature_cache import cache_pictures, cache_texts
from oclear.training.samples import build_samples

_CUT = 10


class QuickTraining:
    """Trains proxies and heads on features of frozen encoders, again and again from the same start.

    The encoders see each picture once. Nothing is chosen by the validation photos, so that they may be measured on.

    Args:
        items: The catalogue.
        queries: The training photos.
        photos: The validation photos; those without a true item are left out.
        truth: Their true items.
        model: Encoders and heads.
        epochs: Of each training.
        max_bad_images: The share of pictures that may be unreadable.
        cache: Folder of the encoders' output.
        reporter: Says what happens.
    """

    def __init__(
        self,
        items: Items,
        queries: Queries,
        photos: Queries,
        truth: Truth,
        model: ModelConfig,
        *,
        epochs: float,
        max_bad_images: float,
        cache: Path,
        reporter: Reporter,
    ) -> None:
        torch.manual_seed(0)
        self._model = place(TwoTowerModel.from_encoders(model)).eval()
        self._start = {name: value.clone() for name, value in self._model.state_dict().items()}
        self._texts = items.texts(self._model.text_columns_of(items.table.column_names))
        self._queries, self._documents = queries.pictures(), items.pictures()
        self._photos = photos.select(np.diff(truth.pairs_for(photos, items)[0]) > 0)
        self._truth = truth.pairs_for(self._photos, items)
        self._cache, self._reporter = cache, reporter
        self._known: dict[str, Estimate] = {}
        self._config = TrainConfig(
            stages=(
                StageConfig(
                    name="heads", trains="heads", epochs=epochs, proxies_start="class_means"
                ),
            ),
            max_bad_images=max_bad_images,
        )

    @property
    def photos(self) -> int:
        """How many photos are measured on."""
        return len(self._photos)

    def identical_at_1(self, found: Categories, folder: Path, seed: int = 0) -> Estimate | None:
        """Trains on IDs, and ranks the whole catalogue for each validation photo.

        Args:
            found: The IDs and their samples.
            folder: For checkpoints; removed again.
            seed: Of the training.

        Returns:
            The share of photos whose first item is a true one; None where no photo is in an ID, so that there is
            nothing to train on.
        """
        samples = build_samples(
            found.samples, found.categories, self._queries, self._documents
        ).searched()
        if not samples.num_classes:
            return None
        # Neighbouring points often have the very same IDs, and a training repeats to the last digit.
        digest = hashlib.sha256(samples.fingerprint().encode())
        digest.update(np.ascontiguousarray(samples.label_weights).tobytes() + str(seed).encode())
        if (key := digest.hexdigest()) in self._known:
            return self._known[key]
        self._model.expectation = None
        self._model.load_state_dict(self._start)
        data = TrainingData(samples, self._queries, self._documents, self._texts)
        folder.mkdir()
        Trainer(
            self._model,
            data,
            None,
            self._config.model_copy(update={"seed": seed}),
            folder,
            self._reporter,
            new_heads=True,
            cache=self._cache,
        ).run()
        shutil.rmtree(folder)
        summary = evaluate_ranking(self._ranking(), *self._truth, None, k=_CUT).summary()
        self._known[key] = summary["identical@1"]
        return self._known[key]

    def looks(self, texts: NDArray[np.float32] | None) -> Looks:
        """Items and training photos as the model of the last training sees them, for a second round of governance.

        Args:
            texts: (items, d) vectors of the texts, which heads do not change.
        """
        photo_rows, photo_vectors = self._embedded(self._queries)
        document_rows, document_vectors = self._embedded(self._documents)
        width = photo_vectors.shape[1]
        photos = np.zeros((len(self._queries), width), np.float32)
        photos[self._queries.rows[photo_rows]] = photo_vectors
        items = np.zeros((len(self._texts), width), np.float32)
        np.add.at(items, self._documents.rows[document_rows], document_vectors)
        return Looks(normalized(items), photos, texts)

    def _ranking(self) -> Ranking:
        documents, photos = self._documents, self._photos.pictures()
        document_rows, document_vectors = self._embedded(documents)
        photo_rows, photo_vectors = self._embedded(photos)
        ranking = rank(photo_vectors, document_vectors, documents.rows[document_rows], _CUT)
        # A photo that cannot be read counts as missed.
        found = np.full((len(self._photos), _CUT), -1, np.int64)
        scores = np.full(found.shape, -np.inf, np.float32)
        found[photo_rows], scores[photo_rows] = ranking.items, ranking.scores
        return Ranking(found, scores, ranking.gallery_size)

    @torch.inference_mode()
    def _embedded(self, pictures: Pictures) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Which pictures can be read, and their embeddings."""
        cached = self._features(pictures)
        rows = np.flatnonzero(cached.readable)
        heads = self._model.heads(cached.rows(rows).to(self._model.device), pictures.side)
        vectors: NDArray[np.float32] = torch.nn.functional.normalize(heads, dim=-1).cpu().numpy()
        return rows, vectors

    def _features(self, pictures: Pictures) -> PictureCache:
        texts = cache_texts(self._model, self._texts, self._cache)
        with self._reporter.task(f"{pictures.side} features", len(pictures)) as task:
            return cache_pictures(
                self._model,
                pictures,
                texts,
                self._cache,
                level="pooled",
                skipped=SkippedImages(),
                progress=task.advance,
            )
