"""Classes that other evidence ties: they are not pushed apart."""

from __future__ import annotations

import torch


class Links:
    """Pairs of classes, looked up by label at a cost that does not grow with the number of classes.

    Args:
        pairs: (L, 2) int64, each tie once in either order; None for none.
    """

    def __init__(self, pairs: torch.Tensor | None, device: torch.device | None = None) -> None:
        pairs = torch.empty(0, 2, dtype=torch.int64) if pairs is None else pairs
        both = torch.cat([pairs, pairs.flip(1)]).to(device)
        both = torch.unique(both, dim=0)  # sorted by the first
        self._classes, self._others = both[both[:, 0] != both[:, 1]].T.contiguous()

    def apart(self, labels: torch.Tensor) -> torch.Tensor:
        """Samples and the classes tied to one of their labels, (2, T) int64, by sample.

        Args:
            labels: (n, P) int64, -1 where padded.
        """
        sample, label = (labels >= 0).nonzero(as_tuple=True)
        wanted = labels[sample, label]
        first = torch.searchsorted(self._classes, wanted)
        counts = torch.searchsorted(self._classes, wanted, right=True) - first
        return torch.stack([sample.repeat_interleave(counts), self._others[spans(first, counts)]])


def spans(first: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The numbers ``first[i], first[i] + 1, ...``, so many of each, one after the other.

    Example:
        >>> spans(torch.tensor([10, 3]), torch.tensor([2, 3]))
        tensor([10, 11,  3,  4,  5])
    """
    before = counts.cumsum(0) - counts
    within = torch.arange(int(counts.sum()), device=counts.device)
    return within + (first - before).repeat_interleave(counts)
