"""Nearest proxies among those of the nearest clusters: inverted lists."""

from __future__ import annotations

import math

import torch

from oclear.proxies.draws import generator
from oclear.proxies.graph.kmeans import (
    assign,
    centres_around,
    group_centres,
    groups_of,
    spherical_kmeans,
)
from oclear.proxies.graph.search import Nearest
from oclear.proxies.graph.shapes import padded
from oclear.proxies.graph.top import largest
from oclear.proxies.unit import unit
from oclear.runtime import give_back_memory

# Lists for the square root of the rows, and rows of a list on average at least; rows to learn a centre from; mean lists
# that a search looks through, and lists that it chooses from. Many short lists find more for fewer comparisons
# (of 150,000 made-up classes 0.60 of the true neighbours with 4 times the root, 0.74 with 8, 0.91 with 16, 0.95 with
# 24), but each is a product of its own.
_LISTS, _LEAST, _SAMPLE, _PROBES, _AROUND = 24, 16, 24, 24, 256
_MULTIPLE = 32
ADDED_AT_ONCE = 2**13
"""Rows that are added to the means of lists at a time."""


def lists_for(rows: int) -> int:
    """How many lists so many rows are put into.

    Example:
        >>> lists_for(1_000_000)
        24000
    """
    return max(1, min(rows // _LEAST, round(_LISTS * math.sqrt(rows))))


class InvertedLists:
    """Rows in lists by their nearest centre (IVF; Jegou et al., "Product Quantization", 2011, without the codes).

    A search is for rows of one list at a time: they look through the same lists, so that all is one matrix product.
    Centres drift with the rows: while a round of searches goes through all rows, each learns where it is at home now,
    and at its end the lists are sorted anew and the centres move to the means. So each round is one of k-means too.

    Args:
        weight: The rows of this rank, at least one; only looked at while searching.
        block: Most rows that are searched for at a time.
    """

    def __init__(self, weight: torch.Tensor, block: int) -> None:
        self.weight, self.block = weight, block
        self.num_lists = lists_for(len(weight))
        self._probed = min(len(weight), -(-_PROBES * len(weight) // self.num_lists))
        self.compared = self._probed + min(_AROUND, self.num_lists)
        self.centres = weight.new_empty(self.num_lists, weight.shape[1])
        self.middles = weight.new_empty(groups_of(self.num_lists), weight.shape[1])
        self.members = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        self.order = torch.zeros_like(self.members)
        self.ends = torch.zeros(self.num_lists, dtype=torch.int64)
        self.sizes = self.ends[:0]

    def fill(self, random: torch.Generator) -> None:
        """Learns centres from a sample and puts each row into the list of the nearest.

        Args:
            random: Its device is that of the rows.
        """
        device, rows = self.weight.device, len(self.weight)
        sample = torch.randint(
            rows, (min(rows, _SAMPLE * self.num_lists),), generator=random, device=device
        )
        if len(sample) == rows:
            sample = torch.arange(rows, device=device)
        self.centres = spherical_kmeans(
            lambda at: unit(self.weight[sample[at]]), len(sample), self.num_lists, random
        )
        give_back_memory()
        self.members = assign(lambda at: unit(self.weight[at]), rows, self.centres, random)
        self._group()
        self._sort()

    def rows_of(self, block: int) -> torch.Tensor:
        """The rows of a block, all of one list, (n,) int64; none past the last one."""
        if block >= len(self.sizes):
            return self.order[:0].long()
        start, stop = self._starts[block], self._stops[block]
        return self.order[start:stop].long()

    def nearest(self, queries: torch.Tensor, k: int) -> Nearest:
        """See :meth:`Search.nearest`."""
        asked = len(queries)
        queries = padded(queries, _MULTIPLE)
        # Only the lists around the block are looked at: it was one list when the round began.
        middle = queries.float().sum(dim=0).to(queries.dtype)
        candidates = self._around[(self.middles @ middle).argmax()]
        nearest = (self.centres[candidates] @ middle).topk(min(_AROUND, len(candidates))).indices
        around = candidates[nearest]
        likeness = (queries @ self.centres[around].T)[:asked]
        homes = likeness.argmax(dim=1)
        # First the lists that most rows are at home in, then those nearest on average, which is less than a vote.
        votes = torch.bincount(homes, minlength=len(around)) + likeness.mean(dim=0).float()
        # Twice as many lists as have the wanted number of rows on average: cut to it, it is nearly always the same.
        rows = self._rows_in(around[votes.topk(min(2 * _PROBES, len(around))).indices])
        products = (queries @ unit(self.weight.index_select(0, rows)).T)[:asked]
        scores, columns = largest(products, min(k, len(rows)))
        return Nearest(scores, rows[columns], around[homes])

    def learn(self, rows: torch.Tensor, homes: torch.Tensor) -> None:
        """Puts rows into the lists where they are at home now; in effect from the next round on."""
        self.members[rows] = homes.int()

    def end_round(self) -> None:
        """Moves the centres to the means of their rows, and sorts the lists anew."""
        self.centres = self._means()
        self._group()
        self._sort()

    def state(self) -> dict[str, torch.Tensor]:
        """Lists, centres and their groups, and which list each row will be in next."""
        lists = {"order": self.order, "ends": self.ends, "members": self.members}
        return {**lists, "centres": self.centres, "middles": self.middles}

    def restore(self) -> None:
        """Goes on with what was written into the tensors of the state."""
        self._around = centres_around(self.middles, self.centres)
        self._cut()

    def _rows_in(self, lists: torch.Tensor) -> torch.Tensor:
        """The rows of lists, one after the other, as many as a search compares with."""
        lists = lists.cpu()
        begins = torch.where(lists > 0, self.ends[lists - 1], 0).tolist()
        ends = self.ends[lists].tolist()
        parts = [self.order[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return torch.cat(parts)[: self._probed].long()

    def _means(self) -> torch.Tensor:
        """The direction of the mean of each list's rows; the centre as it is where there is none."""
        means = torch.zeros_like(self.centres, dtype=torch.float32)
        parts = (torch.split(of_rows, ADDED_AT_ONCE) for of_rows in (self.weight, self.members))
        for rows, lists in zip(*parts, strict=True):
            means.index_add_(0, lists, unit(rows).float())
        lengths = torch.linalg.vector_norm(means, dim=1, keepdim=True)
        without = ~(lengths > 0).squeeze(1)  # empty, or with a row that is not finite
        means = means.div_(lengths)
        means[without] = self.centres[without].float()
        return means.to(self.centres.dtype)

    def _group(self) -> None:
        """Groups the centres."""
        self.middles = group_centres(self.centres, generator(0, 0, self.centres.device))
        self._around = centres_around(self.middles, self.centres)

    def _sort(self) -> None:
        """Sorts the rows by list."""
        self.order = self.members.argsort(stable=True).int()
        self.ends = torch.bincount(self.members, minlength=self.num_lists).cumsum(0).cpu()
        self._cut()

    def _cut(self) -> None:
        """Cuts each list into blocks."""
        sizes = self.ends.diff(prepend=self.ends.new_zeros(1))
        pieces = -(-sizes // self.block)
        piece = torch.arange(int(pieces.sum())) - (pieces.cumsum(0) - pieces).repeat_interleave(
            pieces
        )
        ends = self.ends.repeat_interleave(pieces)
        self._starts = ends - sizes.repeat_interleave(pieces) + piece * self.block
        self._stops = torch.minimum(self._starts + self.block, ends)
        self.sizes = self._stops - self._starts
