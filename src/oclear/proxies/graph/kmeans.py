"""Spherical k-means in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from oclear.proxies.unit import unit

_ROUNDS = 4
# Scores held at once.
_CPU_SCORES, _GPU_SCORES = 2**22, 2**28

Rows = Callable[[slice | torch.Tensor], torch.Tensor]
"""Gives the vectors at these places, unit length, (n, dim). Made anew each time, so that only a block is ever held."""


def spherical_kmeans(
    vectors: Rows, count: int, clusters: int, random: torch.Generator
) -> torch.Tensor:
    """Centres of clusters by cosine (Dhillon and Modha, 2001), (clusters, dim), unit length.

    Args:
        vectors: What is clustered.
        count: Vectors, at least ``clusters``.
        clusters: Centres wanted. One that loses all its members starts again at a random vector.
        random: Its device is that of the vectors.
    """
    device = random.device
    centres = vectors(torch.randperm(count, generator=random, device=device)[:clusters])
    for _ in range(_ROUNDS):
        sums = torch.zeros_like(centres, dtype=torch.float32)
        filled = torch.zeros(clusters, dtype=torch.bool, device=device)
        for _, block, nearest in _nearest(vectors, count, centres):
            sums.index_add_(0, nearest, block.float())
            filled[nearest] = True
        again = vectors(torch.randint(count, (clusters,), generator=random, device=device))
        centres = unit(torch.where(filled.unsqueeze(1), sums, again.float())).to(centres.dtype)
    return centres


def scores_at_once(on_gpu: bool) -> int:
    """Comparisons of vectors with centres that are held at once."""
    return _GPU_SCORES if on_gpu else _CPU_SCORES


def assign(vectors: Rows, count: int, centres: torch.Tensor) -> torch.Tensor:
    """The nearest centre of each vector, (count,) int64.

    Args:
        vectors: What is assigned.
        count: Vectors.
        centres: Unit length, (clusters, dim).
    """
    found = torch.empty(count, dtype=torch.int64, device=centres.device)
    for part, _, nearest in _nearest(vectors, count, centres):
        found[part] = nearest
    return found


def _nearest(
    vectors: Rows, count: int, centres: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Block by block: where it lies, its vectors, and the nearest centre of each."""
    size = max(1, scores_at_once(on_gpu=centres.device.type != "cpu") // len(centres))
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        block = vectors(part)
        yield part, block, (block @ centres.T).argmax(dim=1)
