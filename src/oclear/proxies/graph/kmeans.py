"""Spherical k-means in plain torch, quick for many clusters too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch

from oclear.proxies.graph.shapes import padded
from oclear.proxies.unit import length

_ROUNDS = 4
# Scores held at once.
_CPU_SCORES, _GPU_SCORES = 2**21, 2**28
# Centres up to which a vector is compared with all; past it with those of so many groups of centres.
_ALL, _GROUPS = 1024, 8
_MULTIPLE = 512

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
        for _, block, nearest in _nearest(vectors, count, centres, random):
            sums.index_add_(0, nearest, block.float())
            filled[nearest] = True
        centres = sums.div_(length(sums)).to(centres.dtype)
        empty = (~filled).nonzero().squeeze(1)
        centres[empty] = vectors(
            torch.randint(count, (len(empty),), generator=random, device=device)
        )
    return centres


def assign(
    vectors: Rows, count: int, centres: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """The nearest centre of each vector, (count,) int32.

    Of more than 1,024 centres it is the nearest of those around the vector's group of centres, so that a vector is
    compared with some multiple of the root of their number.

    Args:
        vectors: What is assigned.
        count: Vectors.
        centres: Unit length, (clusters, dim).
        random: For the groups; its device is that of the vectors.
    """
    found = torch.empty(count, dtype=torch.int32, device=centres.device)
    for part, _, nearest in _nearest(vectors, count, centres, random):
        found[part] = nearest.int()
    return found


def groups_of(centres: int) -> int:
    """How many groups so many centres are put into, so that a vector need not be compared with all of them."""
    return round(math.sqrt(centres))


def group_centres(centres: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """The middles of the groups, (groups, dim), of centres (clusters, dim); all have unit length."""
    return spherical_kmeans(lambda at: centres[at], len(centres), groups_of(len(centres)), random)


def centres_around(middles: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """The centres that a vector of each group is compared with, (groups, compared) int64."""
    return (middles @ centres.T).topk(compared_with(len(centres)), dim=1).indices


def compared_with(centres: int) -> int:
    """How many of the centres a vector is compared with.

    Example:
        >>> compared_with(1000), compared_with(10_000)
        (1000, 800)
    """
    return centres if centres <= _ALL else min(centres, _GROUPS * groups_of(centres))


def vectors_at_once(centres: int, on_gpu: bool) -> int:
    """Vectors that are compared with so many centres at a time; with a few centres it is the vectors that take room."""
    scores = _GPU_SCORES if on_gpu else _CPU_SCORES
    return max(1, scores // max(centres, _ALL))


Assigned = tuple[slice | torch.Tensor, torch.Tensor, torch.Tensor]
"""Of a block of vectors: where they are, themselves, and the nearest centre of each."""


def _nearest(
    vectors: Rows, count: int, centres: torch.Tensor, random: torch.Generator
) -> Iterator[Assigned]:
    if len(centres) <= _ALL:
        return _nearest_of_all(vectors, count, centres)
    return _nearest_of_group(vectors, count, centres, random)


def _nearest_of_all(vectors: Rows, count: int, centres: torch.Tensor) -> Iterator[Assigned]:
    size = vectors_at_once(len(centres), on_gpu=centres.device.type != "cpu")
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        block = vectors(part)
        yield part, block, (block @ centres.T).argmax(dim=1)


def _nearest_of_group(
    vectors: Rows, count: int, centres: torch.Tensor, random: torch.Generator
) -> Iterator[Assigned]:
    middles = group_centres(centres, random)
    arounds = centres_around(middles, centres)
    size = vectors_at_once(arounds.shape[1], on_gpu=centres.device.type != "cpu")
    group = assign(vectors, count, middles, random)
    order = group.argsort()
    ends = torch.bincount(group, minlength=len(middles)).cumsum(0).cpu()
    for members, around in zip(order.tensor_split(ends[:-1]), arounds, strict=True):
        compared = centres[around].T
        for rows in torch.split(members, size):
            block = vectors(rows)
            scores = (padded(block, _MULTIPLE) @ compared)[: len(block)]
            yield rows, block, around[scores.argmax(dim=1)]
