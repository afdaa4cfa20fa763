"""What a selection of classes is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from oclear.proxies.shards import Shards


@dataclass(frozen=True)
class ActiveClasses:
    """The classes of one step on one rank.

    Attributes:
        rows: Chosen rows of the rank, (A,) int64, ascending; None for all of them, which are then used in place.
        places: The batch's labels as positions among them, (n, P) int64, -1 where padded or on another rank.
        left_out: (2, T) int64: samples, ascending, and positions they are not to be compared with.
        total: Classes chosen on all ranks together.
        log_weights: Logarithm of how many classes each row stands for in the softmax, (A,) fp32; None for one each.
    """

    rows: torch.Tensor | None
    places: torch.Tensor
    left_out: torch.Tensor
    total: int
    log_weights: torch.Tensor | None = None


class Selection(Protocol):
    """Chooses the active classes of a step, the same on any number of ranks. Every label is among them."""

    def choose(self, labels: torch.Tensor, step: int) -> ActiveClasses:
        """The choice for the labels of all ranks.

        Args:
            labels: Class indices, (n, P) int64, -1 where padded.
            step: Draws depend on this and the seed alone.
        """
        ...


def place(
    shards: Shards,
    chosen: torch.Tensor | None,
    labels: torch.Tensor,
    apart: torch.Tensor,
    log_weights: torch.Tensor | None = None,
) -> ActiveClasses:
    """What of a choice lies on this rank.

    Args:
        shards: The ranks.
        chosen: Classes, (total,) int64, ascending, without repeats; None for all.
        labels: Class indices, (n, P) int64, -1 where padded.
        apart: (2, T) int64: samples, ascending, and classes they are not to be compared with.
        log_weights: Of the chosen classes, (total,) fp32.
    """
    classes = shards.classes
    if chosen is None:
        rows, total = None, shards.num_classes
    else:
        ends = torch.searchsorted(chosen, chosen.new_tensor([classes.start, classes.stop]))
        first, last = ends.tolist()
        rows, total = chosen[first:last] - classes.start, len(chosen)
        log_weights = None if log_weights is None else log_weights[first:last]
    left_out = torch.stack([apart[0], _positions(rows, classes, apart[1])])
    places = _positions(rows, classes, labels)
    return ActiveClasses(rows, places, left_out[:, left_out[1] >= 0], total, log_weights)


def _positions(rows: torch.Tensor | None, classes: range, wanted: torch.Tensor) -> torch.Tensor:
    """Positions of the wanted classes among the rows, -1 where they are not there."""
    local = wanted - classes.start
    if rows is None:
        return torch.where((local >= 0) & (local < len(classes)), local, -1)
    if not len(rows):
        return torch.full_like(wanted, -1)
    positions = torch.searchsorted(rows, local).clamp_(max=len(rows) - 1)
    return torch.where(rows[positions] == local, positions, -1)
