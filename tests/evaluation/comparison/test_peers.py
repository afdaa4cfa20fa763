"""The objectives of other methods against their formulas, written out anew."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from oclear.evaluation.comparison.peers import PEERS
from oclear.evaluation.comparison.peers.arcface import ArcFaceObjective
from oclear.evaluation.comparison.peers.clip import ClipObjective
from oclear.evaluation.comparison.peers.proxy_anchor import ProxyAnchorObjective
from oclear.evaluation.comparison.peers.sampled_softmax import SampledSoftmaxObjective
from oclear.evaluation.comparison.peers.triplet import TripletObjective

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
CLASSES, DIM, PAIRS = 5, 8, 6


@pytest.fixture
def batch() -> Batch:
    """Six photos and their documents: embeddings, labels, which are documents."""
    torch.manual_seed(3)
    labels = torch.tensor([0, 0, 1, 2, 2, 4])
    embeddings = F.normalize(torch.randn(2 * PAIRS, DIM), dim=1).requires_grad_()
    return embeddings, torch.cat([labels, labels]), torch.arange(2 * PAIRS) >= PAIRS


def test_triplets_are_of_the_hardest_right_and_wrong_ones(batch: Batch) -> None:
    embeddings, labels, _ = batch
    points, n = embeddings.detach().numpy().astype(float), len(labels)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    same = labels.numpy()[:, None] == labels.numpy()[None]
    losses = [
        max(
            distances[i][same[i] & (np.arange(n) != i)].max() - distances[i][~same[i]].min() + 0.2,
            0,
        )
        for i in range(n)
    ]
    expected = np.mean([loss for loss in losses if loss > 0])

    assert TripletObjective(margin=0.2)(*batch).item() == pytest.approx(expected, rel=1e-5)


def test_clip_is_the_mean_of_both_directions(batch: Batch) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    embeddings, labels, is_document = batch
    library = MultipleNegativesRankingLoss(
        model=None,
        scale=1 / 0.07,
        directions=("query_to_doc", "doc_to_query"),
        partition_mode="per_direction",
    )
    expected = library.compute_loss_from_embeddings(
        [embeddings[~is_document], embeddings[is_document]], labels
    )

    objective = ClipObjective(temperature=0.07)
    assert objective(*batch).item() == pytest.approx(expected.item(), rel=1e-5)
    objective.log_scale.data.fill_(10.0)
    at_the_limit = ClipObjective(temperature=0.01)
    assert objective(*batch).item() == pytest.approx(at_the_limit(*batch).item(), rel=1e-5)


def test_sampled_softmax_is_cross_entropy_over_the_documents_of_the_batch(batch: Batch) -> None:
    embeddings, _, is_document = batch
    cosines = embeddings[~is_document] @ embeddings[is_document].T
    expected = F.cross_entropy(20 * cosines, torch.arange(PAIRS))

    assert SampledSoftmaxObjective()(*batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_arcface_adds_an_angle_of_half_a_radian(batch: Batch) -> None:
    embeddings, labels, _ = batch
    objective = ArcFaceObjective(CLASSES, DIM)
    cosines = (embeddings @ F.normalize(objective.loss.W, dim=0)).detach().double()
    own = torch.arange(len(labels)), labels
    angles = cosines[own].acos() + np.radians(28.6)
    assert (angles < np.pi).all(), "the formula beyond is another one"
    cosines[own] = angles.cos()
    expected = F.cross_entropy(64 * cosines, labels)

    assert objective(*batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_proxy_anchor_pulls_and_pushes_each_proxy(batch: Batch) -> None:
    embeddings, labels, _ = batch
    objective = ProxyAnchorObjective(CLASSES, DIM)
    cosines = (embeddings @ F.normalize(objective.loss.proxies, dim=1).T).detach().numpy()
    is_own = labels.numpy()[:, None] == np.arange(CLASSES)
    pulls = np.where(is_own, np.exp(-32 * (cosines - 0.1)), 0).sum(axis=0)
    pushes = np.where(is_own, 0, np.exp(32 * (cosines + 0.1))).sum(axis=0)
    in_batch = is_own.any(axis=0).sum()
    expected = np.log1p(pulls).sum() / in_batch + np.log1p(pushes).sum() / CLASSES

    assert objective(*batch).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_each_method_moves_embeddings_and_what_it_learns(peer: Any, batch: Batch) -> None:
    for settings in peer.settings:
        objective = peer.make(CLASSES, DIM, **settings)
        objective(*batch).backward()
        embeddings = batch[0]
        assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0
        assert all(p.grad is not None for p in objective.parameters())
        embeddings.grad = None


def test_all_methods_have_as_many_settings() -> None:
    assert {len(peer.settings) for peer in PEERS} == {2}
    assert len({peer.name for peer in PEERS}) == len(PEERS)


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (TripletObjective, 144),
        (ClipObjective, 36),
        (SampledSoftmaxObjective, 36),
        (lambda: ArcFaceObjective(CLASSES, DIM), 60),
        (lambda: ProxyAnchorObjective(CLASSES, DIM), 60),
    ],
)
def test_cosines_of_a_batch(make: Callable[[], Any], count: int) -> None:
    assert make().comparisons(6, 6) == count
