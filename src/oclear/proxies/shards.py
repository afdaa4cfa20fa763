"""Classes spread over ranks: who has which, and what ranks tell each other."""

from __future__ import annotations

import torch
import torch.distributed as dist

# Renamed in torch 2.13; the old names warn.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class Shards:
    """A contiguous range of classes for each rank, split as ``torch.chunk`` and DTensor's ``Shard(0)`` do.

    Every method but ``range_of`` is collective: all ranks of the group call it, in the same order. Without a group
    there is one rank, and nothing is sent or copied.

    Args:
        num_classes: Of all ranks.
        group: The ranks, or None for this process alone.

    Example:
        >>> Shards(10, None).classes
        range(0, 10)
    """

    def __init__(self, num_classes: int, group: dist.ProcessGroup | None) -> None:
        self.num_classes, self.group = num_classes, group
        self.ranks = dist.get_world_size(group) if group is not None else 1
        self.rank = dist.get_rank(group) if group is not None else 0

    @property
    def classes(self) -> range:
        """The classes of this rank; empty where there are fewer classes than ranks need."""
        return self.range_of(self.rank)

    @property
    def most(self) -> int:
        """Classes of the fullest rank."""
        return -(-self.num_classes // self.ranks)

    def range_of(self, rank: int) -> range:
        """The classes of a rank."""
        start = min(rank * self.most, self.num_classes)
        return range(start, min(start + self.most, self.num_classes))

    def maximum(self, values: torch.Tensor) -> torch.Tensor:
        """The elementwise maximum over the ranks, in place."""
        if self.ranks > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX, self.group)
        return values

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks, in place."""
        if self.ranks > 1:
            dist.all_reduce(values, dist.ReduceOp.SUM, self.group)
        return values

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of all ranks one after the other, (ranks * n, ...); n is the same everywhere."""
        gathered, work = self.start_gather(rows)
        if work is not None:
            work.wait()
        return gathered

    def start_gather(self, rows: torch.Tensor) -> tuple[torch.Tensor, dist.Work | None]:
        """``gather`` that goes on in the background; the rows are there once the work has been waited for."""
        if self.ranks == 1:
            return rows, None
        gathered = rows.new_empty(self.ranks * len(rows), *rows.shape[1:])
        return gathered, _all_gather(gathered, rows.contiguous(), group=self.group, async_op=True)

    def start_reduce_scatter(self, rows: torch.Tensor) -> tuple[torch.Tensor, dist.Work | None]:
        """Sums (ranks * n, ...) over the ranks; each gets its own n of them, in the background."""
        if self.ranks == 1:
            return rows, None
        own = rows.new_empty(len(rows) // self.ranks, *rows.shape[1:])
        return own, _reduce_scatter(own, rows, group=self.group, async_op=True)

    def exchange(self, rows: torch.Tensor) -> torch.Tensor:
        """Of (ranks * n, ...) sends the i-th n to rank i; returns what the ranks sent to this one, in their order."""
        if self.ranks == 1:
            return rows
        received = torch.empty_like(rows)
        dist.all_to_all_single(received, rows.contiguous(), group=self.group)
        return received
