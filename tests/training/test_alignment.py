"""Photos among the documents of their batch, against a slow computation of the same, one photo at a time."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oclear.training.alignment import alignment_losses
from oclear.training.embedder import Embedder


def slow_loss(
    photo: torch.Tensor, documents: torch.Tensor, is_own: list[bool], margin: float, scale: float
) -> float:
    logits = [
        scale * (float(photo @ document) - margin * own)
        for document, own in zip(documents, is_own, strict=True)
    ]
    own = sum(math.exp(logit) for logit, mine in zip(logits, is_own, strict=True) if mine)
    return -math.log(own / sum(math.exp(logit) for logit in logits))


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_it_is_the_cross_entropy_of_each_photo_among_the_documents(margin):
    torch.manual_seed(0)
    photos, documents = (F.normalize(torch.randn(n, 6), dim=1) for n in (4, 5))
    of_photos = torch.tensor([[0, -1], [1, 2], [7, -1], [3, -1]])
    of_documents = torch.tensor([[0, -1], [2, -1], [1, 3], [4, -1], [0, -1]])
    own = [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0], [0] * 5, [0, 0, 1, 0, 0]]

    sure = torch.tensor([[1.0, 0.0], [0.9, 0.1], [1.0, 0.0], [0.25, 0.0]])

    losses, weights = alignment_losses(
        photos, documents, of_photos, sure, of_documents, margin=margin, scale=5.0
    )

    torch.testing.assert_close(weights, torch.tensor([1.0, 1.0, 0.0, 0.25]))  # of 7 no document
    assert losses[2] == 0
    for row in (0, 1, 3):
        expected = slow_loss(photos[row], documents, [bool(x) for x in own[row]], margin, 5.0)
        assert losses[row].item() == pytest.approx(expected, rel=1e-5)


def test_it_draws_documents_to_their_photos():
    torch.manual_seed(0)
    photos = F.normalize(torch.randn(8, 6), dim=1)
    free = torch.randn(8, 6, requires_grad=True)
    labels = torch.arange(8)[:, None]
    for _ in range(100):
        documents = F.normalize(free, dim=1)
        losses, _ = alignment_losses(
            photos, documents, labels, torch.ones(8, 1), labels, margin=0.2, scale=16.0
        )
        (gradient,) = torch.autograd.grad(losses.mean(), free)
        free.data -= gradient
    assert ((photos @ documents.T).argmax(dim=1) == torch.arange(8)).all()


def test_padding_is_no_common_label():
    photo = torch.ones(1, 1)
    _, weights = alignment_losses(
        photo,
        photo,
        torch.tensor([[3, -1]]),
        torch.ones(1, 2),
        torch.tensor([[4, -1]]),
        margin=0.0,
        scale=1.0,
    )
    assert weights.tolist() == [0]


def test_a_photo_counts_as_much_as_it_is_sure_of_what_it_meets():
    """Of a photo that is 0.9 of ID 0 and 0.1 of ID 1 only ID 1's document is in the batch."""
    photo = torch.ones(1, 1)
    _, weights = alignment_losses(
        photo,
        photo,
        torch.tensor([[0, 1]]),
        torch.tensor([[0.9, 0.1]]),
        torch.tensor([[1, -1]]),
        margin=0.0,
        scale=1.0,
    )
    assert weights.item() == pytest.approx(0.1)


def test_a_batch_without_documents_has_nothing_to_align():
    losses, weights = alignment_losses(
        torch.ones(2, 1),
        torch.empty(0, 1),
        torch.tensor([[0], [1]]),
        torch.ones(2, 1),
        torch.empty(0, 1, dtype=torch.int64),
        margin=0.0,
        scale=1.0,
    )
    assert losses.tolist() == weights.tolist() == [0, 0]


def test_it_brings_photos_and_documents_of_a_training_together(make_trainer):
    def trained(alignment: float) -> float:
        stage = {
            "trains": "heads",
            "heads_lr": 3e-3,
            "epochs": 6,
            "document_share": 0.5,
            "alignment": alignment,
        }
        trainer = make_trainer([stage], f"run {alignment}", validation=False)
        trainer.run()
        return gap(trainer)

    assert trained(1.0) < 0.9 * trained(0.0)


def gap(trainer) -> float:
    """The mean distance (1 - cosine) of a photo to the document of its ID."""
    data = trainer.data
    source = trainer.opener.open(trainer.config.stages[-1], 0).source
    inputs = source.samples(np.arange(len(data.samples)))
    with torch.no_grad():
        vectors = Embedder(trainer.model, "pooled")(inputs)
    samples = data.samples
    distances = [
        1 - float(vectors[photo] @ vectors[document])
        for photo in (~samples.is_document).nonzero()[0]
        for document in samples.is_document.nonzero()[0]
        if samples.labels[photo, 0] == samples.labels[document, 0]
    ]
    return sum(distances) / len(distances)
