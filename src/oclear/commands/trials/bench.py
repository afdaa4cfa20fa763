"""Trains an arm and measures it: only what the arm says differs from the others."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.commands.shared.device import denormals_flushed, place
from oclear.commands.trials.data import Labelled, TrialData
from oclear.evaluation import Measures, Ranking, evaluate_ranking, rank
from oclear.evaluation.comparison.clicked_pairs import Pairs
from oclear.evaluation.comparison.frozen import nearest_document, nearest_photo
from oclear.governance import Looks, normalized
from oclear.model import ModelConfig, TwoTowerModel
from oclear.model.encode import is_text_alone
from oclear.model.text_encoder import TextFeatures
from oclear.progress import Reporter
from oclear.tables import Pictures
from oclear.training import TrainConfig, Trainer, TrainingData
from oclear.training.cached_features import Level, PictureCache, TextCache
from oclear.training.coarse_labels import add_coarse_labels
from oclear.training.embedder import Embedder, Inputs
from oclear.training.feature_cache import cache_pictures, cache_texts
from oclear.training.objective import Objective
from oclear.training.sampler import BalancedSampler, Sampling
from oclear.training.stage_data import CACHED_LEVEL

_CUT = 10
_BATCH = 256
_DEPTHS = ("proxies", "heads", "fusion", "encoder")


@dataclass(frozen=True, eq=False)
class Trained:
    """A model that has learned.

    Args:
        model: With its best weights.
        score: Validation Identical@1.
        steps: All of them.
        seconds: From new heads to the best weights.
        level: What its frozen part gives; None where nothing was frozen.
        classes: That it was learned among.
    """

    model: TwoTowerModel
    score: float
    steps: int
    seconds: float
    level: Level | None
    classes: int = 0


class Bench:
    """Trains models on a data folder and measures them.

    Args:
        data: What is learned from and measured on.
    """

    def __init__(self, data: TrialData) -> None:
        self.data = data

    def train(
        self,
        labels: Labelled,
        model: ModelConfig,
        training: TrainConfig,
        *,
        seed: int,
        objective: Objective | None = None,
        sampling: Sampling = BalancedSampler,
    ) -> Trained:
        """Learns, from the same start for the same model and seed.

        Args:
            labels: What from.
            model: Encoders and heads.
            training: The curriculum, its steps counted.
            seed: Of new weights, batches and crops.
            objective: Of another method; classification among proxies where None.
            sampling: How batches are drawn.
        """
        began = time.monotonic()
        torch.manual_seed(seed)
        made = place(TwoTowerModel.from_encoders(model)).eval()
        samples = labels.samples
        if training.coarse_weight and objective is None:
            samples = add_coarse_labels(
                samples, self.data.items.table, self.data.documents, training.coarse_weight
            )
        learned = TrainingData(
            samples,
            self.data.query_pictures,
            self.data.documents,
            self._item_texts(made),
            labels.links,
        )
        curriculum = training.model_copy(
            update={"seed": seed, "max_bad_images": self.data.config.max_bad_images}
        )
        with self._scratch() as folder, denormals_flushed():
            result = Trainer(
                made,
                learned,
                self.data.validation,
                curriculum,
                folder,
                Reporter(quiet=True),
                new_heads=True,
                cache=self.data.cache,
                objective=objective,
                sampling=sampling,
            ).run()
        deepest = max((stage.trains for stage in training.stages), key=_DEPTHS.index)
        level = CACHED_LEVEL[deepest]
        if level == "embedding":
            level = "pooled"
        assert result.best_score is not None, "there are validation photos"
        return Trained(
            made,
            result.best_score,
            result.steps,
            time.monotonic() - began,
            level,
            samples.num_classes,
        )

    def looks_of(self, trained: Trained) -> Looks:
        """What a trained model sees, for a second round of governance; texts look as before."""
        photo_rows, photo_vectors = self.embedded(trained, self.data.query_pictures)
        document_rows, document_vectors = self.embedded(trained, self.data.documents)
        is_seen = self.data.documents.places[document_rows] >= 0  # a text alone is not a look
        document_rows, document_vectors = document_rows[is_seen], document_vectors[is_seen]
        width = photo_vectors.shape[1]
        photos = np.zeros((len(self.data.queries), width), np.float32)
        photos[self.data.query_pictures.rows[photo_rows]] = photo_vectors
        items = np.zeros((len(self.data.items), width), np.float32)
        np.add.at(items, self.data.documents.rows[document_rows], document_vectors)
        return Looks(normalized(items), photos, self.data.looks.texts)

    # Measuring

    def measure(self, trained: Trained) -> Measures:
        """The measures of the test photos over the whole catalogue."""
        rows, vectors = self.embedded(trained, self.data.photos.pictures())
        document_rows, documents = self.embedded(trained, self.data.documents)
        found = rank(vectors, documents, self.data.documents.rows[document_rows], _CUT)
        return self.measures(found, rows)

    def measures(self, found: Ranking, rows: NDArray[np.int64]) -> Measures:
        """Measures of a ranking; a photo that could not be read counts as missed.

        Args:
            found: Of the photos that could be read.
            rows: Which of the test photos these are.
        """
        items = np.full((len(self.data.photos), _CUT), -1, np.int64)
        scores = np.full(items.shape, -np.inf, np.float32)
        items[rows], scores[rows] = found.items, found.scores
        coarse = None
        if "coarse_label" in self.data.items.table.column_names:
            coarse = self.data.items.table["coarse_label"].to_numpy().astype(object)
        truth = self.data.truth.pairs_for(self.data.photos, self.data.items)
        return evaluate_ranking(Ranking(items, scores, found.gallery_size), *truth, coarse, k=_CUT)

    def frozen(self, asked: Pictures | None = None) -> FrozenFeatures:
        """What the encoder gives without any training.

        Args:
            asked: The photos to answer; those of ``split = test`` where None.
        """
        asked = asked or self.data.photos.pictures()
        model = place(TwoTowerModel.from_encoders(without_text(self.data.config.model))).eval()
        sides = (self.data.query_pictures, asked, self.data.documents)
        caches = [
            cache_pictures(
                model, side, None, self.data.cache, level="pooled", skipped=self.data.skipped
            )
            for side in sides
        ]
        train, test, documents = (np.asarray(c.features, np.float32) for c in caches)
        return FrozenFeatures(
            train,
            caches[0].readable,
            test[caches[1].readable],
            np.flatnonzero(caches[1].readable),
            documents[caches[2].readable],
            self.data.documents.rows[caches[2].readable],
        )

    @torch.inference_mode()
    def embedded(
        self, trained: Trained, pictures: Pictures
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Which pictures can be read, and their embeddings (n, dim)."""
        model, level = trained.model, trained.level or "pooled"
        # What a fine-tuned encoder gives is of no use to another arm.
        with self._scratch() as own:
            cache = self.data.cache if trained.level else own
            item_texts = self._item_texts(model)
            texts = cache_texts(model, item_texts, cache)
            cached = cache_pictures(
                model, pictures, texts, cache, level=level, skipped=self.data.skipped
            )
            rows = np.flatnonzero(cached.readable)
            embedder = Embedder(model, trained.level)
            blocks = [
                embedder(_inputs(pictures, cached, texts, batch).to(model.device))
                for batch in np.split(rows, range(_BATCH, len(rows), _BATCH))
            ]
            if pictures.side == "document" and texts is not None:
                alone = np.flatnonzero(is_text_alone(model, pictures, item_texts))
                for batch in np.split(alone, range(_BATCH, len(alone), _BATCH)):
                    read = texts.rows(pictures.rows[batch])
                    blocks.append(
                        model.embed_text(TextFeatures(*(t.to(model.device) for t in read)))
                    )
                rows = np.concatenate([rows, alone])
            return rows, torch.cat(blocks).cpu().numpy()

    def _item_texts(self, model: TwoTowerModel) -> list[str]:
        return self.data.items.texts(model.text_columns_of(self.data.items.table.column_names))

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.data.folder, prefix=".scratch-") as name:
            yield Path(name)


def _inputs(
    pictures: Pictures, cached: PictureCache, texts: TextCache | None, rows: NDArray[np.int64]
) -> Inputs:
    """Cached features of some pictures of a side."""
    is_document = pictures.side == "document"
    features = torch.from_numpy(cached.features[rows])
    spatial, tokens, mask = None, None, None
    if is_document and cached.spatial is not None:
        spatial = torch.from_numpy(cached.spatial[rows])
    if is_document and texts is not None:
        tokens, mask = texts.rows(pictures.rows[rows])
    return Inputs(
        torch.full((len(rows),), is_document),
        queries=features[:0] if is_document else features,
        documents=features if is_document else features[:0],
        spatial=spatial,
        tokens=tokens,
        mask=mask,
    )


@dataclass(frozen=True, eq=False)
class FrozenFeatures:
    """Pooled features (n, width) of an untrained encoder.

    Args:
        photos: Of the training photos, zero where one cannot be read.
        readable: (n,) which can.
        asked: Of the readable photos to answer.
        rows: Which of the photos to answer these are.
        documents: Of the readable catalogue pictures.
        item_of: The item of each.
    """

    photos: NDArray[np.float32]
    readable: NDArray[np.bool_]
    asked: NDArray[np.float32]
    rows: NDArray[np.int64]
    documents: NDArray[np.float32]
    item_of: NDArray[np.int64]

    def by_document(self, k: int) -> Ranking:
        """Items by their nearest catalogue picture, each side less its mean."""
        photos = self.photos[self.readable]
        return nearest_document(self.asked, photos, self.documents, self.item_of, k)

    def by_photo(self, pairs: Pairs, k: int) -> Ranking:
        """Items by the nearest training photo that is paired with them.

        Args:
            pairs: (p, 2) rows of all training photos and items; those of unreadable photos are left out.
            k: Items to find.
        """
        pairs = pairs[self.readable[pairs[:, 0]]]
        number = np.cumsum(self.readable) - 1
        pairs = np.stack([number[pairs[:, 0]], pairs[:, 1]], axis=1)
        return nearest_photo(self.asked, self.photos[self.readable], pairs, k)


def without_text(model: ModelConfig) -> ModelConfig:
    """The same without the text tower, for what looks at pictures alone."""
    return model.model_copy(update={"text_encoder": None})


def our_facts(labels: Labelled, training: TrainConfig, classes: int) -> dict[str, Any]:
    """Classes, and the cosines of an epoch of classification among them in the last stage."""
    stage = training.resolve(classes).stages[-1]
    assert stage.selection is not None, "it is settled"
    photos = int((~labels.samples.is_document).sum())
    in_a_step = stage.batch_size - round(stage.document_share * stage.batch_size)
    cosines = stage.batch_size * stage.selection.active_classes(classes)
    if stage.alignment:
        cosines += in_a_step * (stage.batch_size - in_a_step)
    return {"classes": classes, "cosines_an_epoch": cosines * max(1, round(photos / in_a_step))}
