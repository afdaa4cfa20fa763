"""The end of a training: what the texts of the catalogue let expect of its documents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch

from oclear.model import TwoTowerModel
from oclear.model.text_encoder import TextFeatures
from oclear.training.embedder import Embedder, Inputs
from oclear.training.ranks import Ranks
from oclear.training.stage_data import StageData
from oclear.training.text_regression import FOLDS, Sums, fitted_expectation
from oclear.training.validation import ValidationSet, embed_validation

_MOST = 10_000
"""Documents to fit to: more of them change a hundred thousand numbers little, and each is encoded once more."""


@torch.no_grad()  # not inference_mode: what it makes is changed and saved later
def fit_expectation(model: TwoTowerModel, data: StageData, ranks: Ranks) -> float:
    """Fits :class:`~oclear.model.expectation.TextExpectation` of a model that has learned. Collective.

    Args:
        model: Gets it, or None where texts foretell nothing.
        data: Of a stage, as the model now is.
        ranks: Share the documents.

    Returns:
        How much of the variance of embeddings texts foretell, 0 to 1.
    """
    model.expectation = None
    text_encoder = model.text_encoder
    assert text_encoder is not None
    rows = np.arange(len(data.documents))[:: -(-len(data.documents) // _MOST) or 1]
    # By place, not by row: rows that stand evenly apart may all be of one fold.
    fold_of = np.full(len(data.documents), -1, np.int8)
    fold_of[rows] = np.unique(data.documents.rows[rows], return_inverse=True)[1] % FOLDS
    embed = Embedder(model, data.level)
    width, dim = text_encoder.width, model.config.embedding_dim
    sums = [Sums.zero(width, dim) for _ in range(FOLDS)]
    mine = rows[np.asarray(ranks.share(len(rows)), np.int64)]
    for batch, inputs in data.source.documents(mine, with_texts=True):
        if (text := inputs.text) is None:
            continue
        # Of the picture alone: what fusion took from the text would be foretold best, and no photo shows it.
        seen = replace(inputs, tokens=None, mask=None)
        embeddings = embed(seen.to(model.device)).cpu()
        for fold in range(FOLDS):
            chosen = torch.from_numpy(fold_of[batch] == fold)
            part = TextFeatures(text.tokens[chosen], text.mask[chosen])
            sums[fold] += Sums.of(part, embeddings[chosen])
    everyones = [reduce(add, parts) for parts in zip(*ranks.gather(sums), strict=True)]
    # One for all: on unlike processors the last digits differ, and with them what they decide.
    found, share = ranks.from_main(
        fitted_expectation(everyones, model.config.text_strength) if ranks.is_main else (None, 0.0)
    )
    model.expectation = None if found is None else found.to(model.device)
    return share


def can_expect(model: TwoTowerModel) -> bool:
    """Whether a model's documents can be drawn to their texts: not where they are their texts, or none is read."""
    return model.text_encoder is not None and model.config.fusion != "text"


class Found(NamedTuple):
    """What validation photos find."""

    identical_at_1: float
    mean_reciprocal_rank: float


@dataclass(frozen=True)
class Drawn:
    """What drawing does on validation photos.

    Attributes:
        before: With documents as they are.
        after: With documents drawn to what their texts let expect.
    """

    before: Found
    after: Found

    @property
    def helps(self) -> bool:
        """Whether it is worth it: by the reciprocal rank, as a first place is won or lost by a few photos' chance."""
        return self.after.mean_reciprocal_rank >= self.before.mean_reciprocal_rank


def measure_drawing(
    model: TwoTowerModel, data: StageData, validation: ValidationSet, ranks: Ranks
) -> Drawn:
    """What drawing documents to their texts does on validation photos. Collective.

    Args:
        model: With an expectation.
        data: Of a stage, as the model now is.
        validation: The photos and the gallery.
        ranks: Share the work.
    """
    expectation = model.expectation
    assert expectation is not None
    embed = Embedder(model, data.level)

    def both(inputs: Inputs) -> torch.Tensor:
        """Either kind of embedding, side by side: pictures are encoded once."""
        inputs = inputs.to(model.device)
        model.expectation = None
        before = embed(inputs)
        model.expectation = expectation
        after = before.clone()
        after[inputs.is_document] = model.drawn_to_text(before[inputs.is_document], inputs.text)
        return torch.cat([before, after], dim=1)

    found = embed_validation(validation, data.documents, data.source, both, ranks, with_texts=True)
    dim = model.config.embedding_dim
    scores = []
    for half in (slice(dim), slice(dim, None)) if ranks.is_main else ():
        kind = replace(
            found,
            query_vectors=found.query_vectors[:, half],
            document_vectors=found.document_vectors[:, half],
        )
        scores.append(Found(validation.identical_at_1(kind), validation.mean_reciprocal_rank(kind)))
    return Drawn(*ranks.from_main(scores))
