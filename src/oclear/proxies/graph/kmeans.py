"""Spherical k-means in plain torch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from oclear.proxies.unit import unit

_ROUNDS = 4
# Scores held at once.
_CPU_SCORES, _GPU_SCORES = 2**24, 2**28


def spherical_kmeans(vectors: torch.Tensor, clusters: int, random: torch.Generator) -> torch.Tensor:
    """Centres of clusters by cosine (Dhillon and Modha, 2001), (clusters, dim), unit length.

    Args:
        vectors: Unit length, (n, dim), n at least ``clusters``.
        clusters: Centres wanted. One that loses all its members starts again at a random vector.
        random: Its device is that of the vectors.
    """
    start = torch.randperm(len(vectors), generator=random, device=vectors.device)[:clusters]
    centres = vectors[start]
    for _ in range(_ROUNDS):
        members = assign(vectors.__getitem__, len(vectors), centres)
        sums = torch.zeros(clusters, vectors.shape[1], device=vectors.device)
        sums.index_add_(0, members, vectors.float())
        counts = torch.bincount(members, minlength=clusters)
        again = torch.randint(len(vectors), (clusters,), generator=random, device=vectors.device)
        sums = torch.where(counts.unsqueeze(1) > 0, sums, vectors[again].float())
        centres = unit(sums).to(vectors.dtype)
    return centres


def scores_at_once(on_gpu: bool) -> int:
    """Comparisons of vectors with centres that are held at once."""
    return _GPU_SCORES if on_gpu else _CPU_SCORES


def assign(
    block: Callable[[slice], torch.Tensor], count: int, centres: torch.Tensor
) -> torch.Tensor:
    """The nearest centre of each vector, (count,) int64.

    Args:
        block: Gives the vectors of a slice, unit length, (n, dim).
        count: Vectors.
        centres: Unit length, (clusters, dim).
    """
    nearest = torch.empty(count, dtype=torch.int64, device=centres.device)
    size = max(1, scores_at_once(on_gpu=centres.device.type != "cpu") // len(centres))
    for start in range(0, count, size):
        part = slice(start, start + size)
        nearest[part] = (block(part) @ centres.T).argmax(dim=1)
    return nearest
