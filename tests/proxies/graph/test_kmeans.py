"""Clustering by cosine, and the short way through groups of centres."""

import pytest
import torch
import torch.nn.functional as F

from oclear.proxies.graph import kmeans
from oclear.proxies.graph.kmeans import assign, compared_with, spherical_kmeans


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def around(centres: torch.Tensor, count: int) -> torch.Tensor:
    """So many directions around centres, one after the other."""
    noise = 0.05 * torch.randn(count, centres.shape[1], generator=seeded())
    return F.normalize(centres[torch.arange(count) % len(centres)] + noise, dim=1)


def test_it_finds_clusters_that_lie_apart() -> None:
    true = torch.eye(5)
    vectors = around(true, 500)

    centres = spherical_kmeans(lambda at: vectors[at], 500, 5, seeded())

    found = assign(lambda at: vectors[at], 500, centres, seeded())
    assert found.dtype == torch.int32
    assert (centres.norm(dim=1) - 1).abs().max() < 1e-5
    # Each true cluster is one that was found, or one that shares its vectors with no other.
    for cluster in found.unique():
        assert len((torch.arange(500)[found == cluster] % 5).unique()) <= 2


def test_few_centres_are_all_compared() -> None:
    centres = F.normalize(torch.randn(300, 16, generator=seeded()), dim=1)
    vectors = F.normalize(torch.randn(2000, 16, generator=seeded()), dim=1)

    found = assign(lambda at: vectors[at], 2000, centres, seeded())

    assert found.tolist() == (vectors @ centres.T).argmax(dim=1).tolist()


def test_among_many_centres_nearly_all_find_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "_CPU_SCORES", 2**16)  # several blocks of a group
    families = F.normalize(torch.randn(60, 32, generator=seeded()), dim=1)
    centres = around(families, 4000)
    vectors = around(centres, 10_000)

    found = assign(lambda at: vectors[at], 10_000, centres, seeded())

    exact = (vectors @ centres.T).argmax(dim=1)
    assert compared_with(4000) < 600
    assert (found == exact).float().mean() > 0.98


def test_every_vector_is_assigned_and_a_seed_says_how() -> None:
    centres = F.normalize(torch.randn(1500, 8, generator=seeded()), dim=1)
    vectors = F.normalize(torch.randn(3001, 8, generator=seeded()), dim=1)

    once, again = (assign(lambda at: vectors[at], 3001, centres, seeded()) for _ in range(2))

    assert torch.equal(once, again)
    cosines = (vectors * centres[once.long()]).sum(dim=1)
    best = (vectors @ centres.T).amax(dim=1)
    assert (best - cosines).max() < 0.5
    assert (best - cosines).mean() < 0.01
