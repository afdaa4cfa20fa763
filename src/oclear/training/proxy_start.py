"""Where proxies start: at the means of their members."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.training.embedder import Inputs
from oclear.training.samples import SampleSet
from oclear.training.sources import BATCH_SIZE, Source

_OF_A_COARSE_LABEL = 1000
"""Members whose mean is its proxy's start."""


def members_of(
    classes: range,
    samples: SampleSet,
    source: Source,
    embed: Callable[[Inputs], torch.Tensor],
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """All members of some IDs: embeddings (n, dim), class indices (n,) and label weights (n,).

    A batch has all members of its classes, so that a mean needs no memory beyond it. Each rank reads the members of
    its own classes, so nothing has to travel. Of a coarse label, which may have a tenth of a shop, some members do.
    """
    wanted, places = np.nonzero((samples.labels >= classes.start) & (samples.labels < classes.stop))
    member_of = samples.labels[wanted, places]
    order = np.argsort(member_of, kind="stable")
    wanted, places, member_of = wanted[order], places[order], member_of[order]
    if samples.coarse_labels:
        kept = (member_of < samples.num_ids) | _evenly_chosen(member_of, _OF_A_COARSE_LABEL)
        wanted, places, member_of = wanted[kept], places[kept], member_of[kept]
    for part in _whole_classes(member_of):
        rows, place = wanted[part], places[part]
        embeddings = [
            embed(source.samples(rows[at : at + BATCH_SIZE]))
            for at in range(0, len(rows), BATCH_SIZE)
        ]
        weights = torch.from_numpy(samples.label_weights[rows, place])
        class_index = torch.from_numpy(member_of[part])
        device = embeddings[0].device
        yield torch.cat(embeddings), class_index.to(device), weights.to(device)


def _evenly_chosen(member_of: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """So many members of each class at most, evenly from its first to its last.

    Args:
        member_of: Class indices, ascending.
        most: Of a class.

    Example:
        >>> _evenly_chosen(np.array([4, 4, 4, 4, 7]), 2).tolist()
        [True, False, True, False, True]
    """
    _, first, inverse, counts = np.unique(
        member_of, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.arange(len(member_of)) - first[inverse]
    of = np.maximum(counts[inverse], most)
    # Where the place, in units of one chosen member, passes a whole number.
    chosen: NDArray[np.bool_] = place * most // of != (place - 1) * most // of
    return chosen


def _whole_classes(member_of: NDArray[np.int64]) -> Iterator[slice]:
    """Parts of about a batch, cut between classes.

    Args:
        member_of: Class indices, ascending.
    """
    starts = np.flatnonzero(np.diff(member_of, prepend=-1))
    start = 0
    while start < len(member_of):
        at = np.searchsorted(starts, start + BATCH_SIZE)
        stop = int(starts[at]) if at < len(starts) else len(member_of)
        yield slice(start, stop)
        start = stop
