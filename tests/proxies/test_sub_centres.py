"""Several centres an ID, and margins by frequency: against dense references and the library others use."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from oclear.proxies import ProxyClassifier, ProxyConfig, SelectionConfig
from oclear.proxies.margins import MarginName, frequency_shares

CLASSES, DIM, CENTRES = 7, 6, 3
SIZES = torch.tensor([1, 4, 9, 16, 100, 2, 50])
EMBEDDINGS = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([[3, -1], [1, 6], [0, -1], [5, -1], [3, 2]])


def make(
    name: MarginName = "arcface", centres: int = CENTRES, **settings: object
) -> ProxyClassifier:
    config = ProxyConfig.model_validate(
        {"margin": name, "margin_size": 0.4, "scale": 16, "sub_centres": centres, **settings}
    )
    return ProxyClassifier(CLASSES, DIM, config, class_sizes=SIZES, seed=3)


def reference(classifier: ProxyClassifier, margins: np.ndarray) -> torch.Tensor:
    """The mean loss in float64, one sample, label and class at a time, by autograd through plain PyTorch."""
    config = classifier.config
    weight = classifier.weight.double().view(CLASSES, -1, DIM)
    losses = []
    for embedding, labels in zip(EMBEDDINGS.double(), LABELS.tolist(), strict=True):
        positives = [label for label in labels if label >= 0]
        cosines = [F.cosine_similarity(embedding[None], centres).max() for centres in weight]
        of_labels = []
        for label in positives:
            own, m = cosines[label], float(margins[label])
            with_margin = own - m if config.margin == "cosface" else torch.cos(own.arccos() + m)
            others = [c for j, c in enumerate(cosines) if j not in positives]
            logits = config.scale * torch.stack([with_margin, *others])
            of_labels.append(F.cross_entropy(logits[None], torch.tensor([0])))
        losses.append(torch.stack(of_labels).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("name", ["cosface", "arcface"])
@pytest.mark.parametrize("centres", [1, CENTRES])
@pytest.mark.parametrize("exponent", [0.0, 0.25])
def test_loss_and_gradients_are_those_of_the_dense_reference(
    name: MarginName, centres: int, exponent: float
) -> None:
    classifier = make(name, centres, margin_frequency=exponent)
    embeddings = EMBEDDINGS.clone().requires_grad_()

    loss = classifier(embeddings, LABELS).loss
    loss.backward()

    # LDAM as its authors' code has it: margins in 1 / sqrt(sqrt(n)), the largest of them the margin asked for.
    margins = np.full(CLASSES, 0.4)
    if exponent:
        margins = 1.0 / np.sqrt(np.sqrt(SIZES.numpy()))
        margins = margins * (0.4 / margins.max())
    expected = reference(classifier, margins)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(expected, classifier.weight)
    assert classifier.weight.grad is not None
    torch.testing.assert_close(classifier.weight.grad, gradient, rtol=1e-4, atol=1e-5)


def test_is_the_sub_centre_arcface_of_pytorch_metric_learning() -> None:
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    theirs = losses.SubCenterArcFaceLoss(
        num_classes=CLASSES,
        embedding_size=DIM,
        margin=math.degrees(0.4),
        scale=16,
        sub_centers=CENTRES,
    )
    ours = make()
    with torch.no_grad():
        ours.weight.copy_(theirs.W.T.reshape(CLASSES, -1))
    labels = LABELS[:, 0]

    found, expected = ours(EMBEDDINGS, labels).loss, theirs(EMBEDDINGS, labels)

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_random_choice_of_all_classes_is_the_full_softmax() -> None:
    full, chosen = make(), make(selection=SelectionConfig(kind="uniform", rate=1.0))

    for classifier in (full, chosen):
        classifier(EMBEDDINGS, LABELS).loss.backward()

    assert chosen.weight.grad is not None and full.weight.grad is not None
    torch.testing.assert_close(chosen.weight.grad.to_dense(), full.weight.grad)


def test_only_the_nearest_centre_of_an_id_learns() -> None:
    classifier = make()

    classifier(EMBEDDINGS[:1], LABELS[:1]).loss.backward()

    assert classifier.weight.grad is not None
    moved = classifier.weight.grad.view(CLASSES, CENTRES, DIM).abs().sum(dim=2) > 0
    nearest = F.cosine_similarity(EMBEDDINGS[0], classifier.centres, dim=1).view(CLASSES, CENTRES)
    assert torch.equal(moved, F.one_hot(nearest.argmax(dim=1), CENTRES).bool())


def test_centres_start_at_the_mean_and_around_it_all_different() -> None:
    classifier = make()
    members = F.normalize(EMBEDDINGS, dim=1)
    labels = torch.tensor([0, 0, 1, 1, 1])

    classifier.start_from_means([(members, labels, torch.ones(5))])

    centres = classifier.centres.view(CLASSES, CENTRES, DIM)
    mean = F.normalize(members[:2].sum(dim=0), dim=0)
    torch.testing.assert_close(centres[0, 0], mean)
    torch.testing.assert_close(centres.norm(dim=2), torch.ones(CLASSES, CENTRES))
    around = centres[0, 1:] @ mean
    assert (around > 0.4).all() and (around < 0.999).all()
    assert not torch.equal(centres[0, 1], centres[0, 2])


def test_every_centre_starts_at_length_one() -> None:
    torch.testing.assert_close(make().centres.norm(dim=1), torch.ones(CLASSES * CENTRES))


def test_the_rarest_class_is_asked_for_all_of_the_margin() -> None:
    shares = frequency_shares(torch.tensor([0, 1, 16]), 0.5)

    torch.testing.assert_close(shares, torch.tensor([1.0, 1.0, 0.25]))
    assert torch.equal(frequency_shares(SIZES, 0.0), torch.ones(CLASSES))


def test_margins_by_frequency_need_to_know_the_frequencies() -> None:
    with pytest.raises(ValueError, match="class_sizes"):
        ProxyClassifier(CLASSES, DIM, ProxyConfig(margin_frequency=0.25))


def test_nearest_classes_of_several_centres_are_refused() -> None:
    with pytest.raises(ValidationError, match="not with knn"):
        ProxyConfig(sub_centres=2, selection=SelectionConfig(kind="knn"))
