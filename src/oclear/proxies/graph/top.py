"""The largest entries of wide rows."""

from __future__ import annotations

import math

import torch

# Rows so many times wider than what is wanted of them are first reduced to maxima of groups.
_WIDE = 512


def largest(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row and their columns, descending; ``topk``, but faster on wide rows.

    The k largest entries lie in the k groups with the largest maxima, so that all others need one pass only.

    Args:
        scores: (n, columns), contiguous; k is at most the columns.
        k: Entries wanted.

    Returns:
        (n, k) values and (n, k) int64 columns.

    Example:
        >>> largest(torch.tensor([[1.0, 5.0, 3.0]]), 2)
        (tensor([[5., 3.]]), tensor([[1, 2]]))
    """
    rows, width = scores.shape
    if width < _WIDE * k:
        found = scores.topk(k, dim=1)
        return found.values, found.indices
    # There are then as many groups as entries in the k best of them.
    size = round(math.sqrt(width / k))
    groups = width // size
    # Group i has the columns i, i + groups, i + 2 groups ...: maxima over them run along contiguous memory.
    even = scores[:, : groups * size].view(rows, size, groups)
    best = even.amax(dim=1).topk(k, dim=1, sorted=False).indices
    steps = torch.arange(0, groups * size, groups, device=scores.device)
    rest = torch.arange(groups * size, width, device=scores.device).expand(rows, -1)
    columns = torch.cat([(best.unsqueeze(2) + steps).flatten(1), rest], dim=1)
    found = scores.gather(1, columns).topk(k, dim=1)
    return found.values, columns.gather(1, found.indices)
