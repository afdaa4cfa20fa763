"""Nearest proxies among those of the nearest clusters: inverted lists."""

from __future__ import annotations

import torch

from oclear.proxies.graph.kmeans import assign, spherical_kmeans
from oclear.proxies.graph.top import largest
from oclear.proxies.unit import unit

# Lists for the square root of the rows; rows to learn a centre from; mean lists that a search looks through.
_LISTS, _SAMPLE, _PROBES = 4, 32, 16


class InvertedLists:
    """Rows in lists by their nearest centre (IVF; Jegou et al., "Product Quantization", 2011, without the codes).

    A search is for rows of one list at a time: they look through the same lists, so that all is one matrix product.
    Centres drift with the rows: while a round of searches goes through all rows, each is put where it fits now, and at
    its end the lists are sorted anew and the centres move to the means. So each round is one of k-means as well.

    Args:
        weight: The rows of this rank, at least one; only looked at while searching.
        block: Most rows that are searched for at a time.
        random: For the first centres; its device is that of the rows.
    """

    def __init__(self, weight: torch.Tensor, block: int) -> None:
        self.weight, self.block = weight, block
        self.num_lists = max(1, min(len(weight), round(_LISTS * len(weight) ** 0.5)))
        self.compared = min(len(weight), -(-_PROBES * len(weight) // self.num_lists))
        self.centres = weight.new_zeros(self.num_lists, weight.shape[1])
        self.sums = torch.zeros_like(self.centres, dtype=torch.float32)
        self.members = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        self.order = torch.zeros_like(self.members)
        self.ends = torch.zeros(self.num_lists, dtype=torch.int64)
        self.blocks = 0

    def fill(self, random: torch.Generator) -> None:
        """Learns centres from a sample and puts each row into the list of the nearest."""
        device, rows = self.weight.device, len(self.weight)
        sample = torch.randint(
            rows, (min(rows, _SAMPLE * self.num_lists),), generator=random, device=device
        )
        if len(sample) == rows:
            sample = torch.arange(rows, device=device)
        self.centres = spherical_kmeans(unit(self.weight[sample]), self.num_lists, random)
        self.members = assign(lambda part: unit(self.weight[part]), rows, self.centres).int()
        self._sort()

    def rows_of(self, block: int) -> torch.Tensor:
        """The rows of a block, all of one list, (n,) int64; none past the last one."""
        if block >= self.blocks:
            return self.order[:0].long()
        start, stop = self._starts[block], self._stops[block]
        return self.order[start:stop].long()

    def nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """See :meth:`Search.nearest`."""
        rows = self._candidates(queries)
        products = queries @ unit(self.weight.index_select(0, rows)).T
        scores, columns = largest(products, min(k, len(rows)))
        return scores, rows[columns]

    def learn(self, rows: torch.Tensor, vectors: torch.Tensor) -> None:
        """Puts rows of one list where they fit now; in effect from the next round on.

        Args:
            rows: (n,) int64.
            vectors: What they are now, unit length, (n, dim).
        """
        near = self._near_lists(vectors)
        members = near[(vectors @ self.centres[near].T).argmax(dim=1)]
        self.members[rows] = members.int()
        self.sums.index_add_(0, members, vectors.float())

    def end_round(self) -> None:
        """Moves the centres to the means of their rows, and sorts the lists anew."""
        filled = self.sums.abs().amax(dim=1, keepdim=True) > 0
        self.centres = torch.where(filled, unit(self.sums).to(self.centres.dtype), self.centres)
        self.sums.zero_()
        self._sort()

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Lists are of one rank only."""
        lists = {"members": self.members, "order": self.order, "ends": self.ends}
        return {}, {"centres": self.centres, "sums": self.sums, **lists}

    def restore(self) -> None:
        """Goes on with what was written into the tensors of the state."""
        self._cut()

    def _near_lists(self, vectors: torch.Tensor) -> torch.Tensor:
        """The lists nearest to the mean of the vectors, nearest first."""
        scores = self.centres.float() @ vectors.float().mean(dim=0)
        return scores.topk(min(_PROBES, self.num_lists)).indices

    def _candidates(self, vectors: torch.Tensor) -> torch.Tensor:
        """Rows of the lists near to the vectors, as many as wanted."""
        near = self._near_lists(vectors).tolist()
        parts = [self.order[self._begin(i) : int(self.ends[i])] for i in near]
        return torch.cat(parts)[: self.compared].long()

    def _begin(self, i: int) -> int:
        return int(self.ends[i - 1]) if i else 0

    def _sort(self) -> None:
        """Sorts the rows by list."""
        self.order = self.members.argsort(stable=True).int()
        self.ends = torch.bincount(self.members, minlength=self.num_lists).cumsum(0).cpu()
        self._cut()

    def _cut(self) -> None:
        """Cuts each list into blocks."""
        sizes = self.ends.diff(prepend=self.ends.new_zeros(1))
        pieces = -(-sizes // self.block)
        self.blocks = int(pieces.sum())
        piece = torch.arange(self.blocks) - (pieces.cumsum(0) - pieces).repeat_interleave(pieces)
        ends = self.ends.repeat_interleave(pieces)
        self._starts = ends - sizes.repeat_interleave(pieces) + piece * self.block
        self._stops = torch.minimum(self._starts + self.block, ends)
