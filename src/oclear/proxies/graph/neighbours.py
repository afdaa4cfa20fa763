"""The nearest classes of each class, kept fresh while proxies learn."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F

from oclear.proxies.draws import generator
from oclear.proxies.graph.exact import ExactSearch
from oclear.proxies.graph.lists import InvertedLists, lists_for
from oclear.proxies.graph.search import Nearest, Search
from oclear.proxies.shards import Shards
from oclear.proxies.unit import unit
from oclear.runtime import give_back_memory

# Classes up to which all are compared with all.
_CPU_EXACT, _GPU_EXACT = 20_000, 1_000_000
# Rows searched for at a time. An exact search brings all others to unit length for each block of them: that pays on a
# GPU, where it is bound by memory, for many at once. A list has tens to hundreds.
_CPU_BLOCK, _GPU_BLOCK, _GPU_EXACT_BLOCK = 512, 4096, 16_384
# A block of fewer rows costs as much as one of these: what it is compared with has to be gathered all the same. None
# costs a GPU less than so many comparisons, in the millisecond that its hundred kernels take to begin (estimated: there
# was no GPU at hand).
_WORTH, _GPU_LEAST = 64, 4e7


def is_exact(num_classes: int, exact_up_to: int | None, on_gpu: bool) -> bool:
    """Whether all are compared with all; up to so many classes by default: 20,000 on a CPU, 1,000,000 on a GPU."""
    if exact_up_to is None:
        exact_up_to = _GPU_EXACT if on_gpu else _CPU_EXACT
    return num_classes <= exact_up_to


def block_of(on_gpu: bool, exact: bool) -> int:
    """Rows searched for at a time."""
    if not on_gpu:
        return _CPU_BLOCK
    return _GPU_EXACT_BLOCK if exact else _GPU_BLOCK


class NeighbourGraph:
    """K nearest classes by cosine for each class of this rank, among those of all ranks.

    There are no snapshots and no swaps: the graph is refreshed block by block between steps, each block from the
    proxies of that very moment, at steps that do not depend on any clock. So a resumed run is the same run, and what
    a checkpoint has to hold is in :meth:`state`. Ranks exchange the rows that are searched for, and each looks
    among its own.

    Methods are collective unless they say otherwise.

    Attributes:
        neighbours: Class indices, nearest first, (rows, K) int32.
        twins: How many of the first are twins, (rows,) uint8.
        num_lists: Of the fullest rank, the same on all; 0 where all are compared with all.
        rounds: Times that all rows were searched for.
        blocks: Of a round.
        cursor: Block that is next.
        block_cost: What a block costs a rank on average, in comparisons of a row with another.
        seconds: Spent on lists and on searching.

    Args:
        shards: The ranks.
        weight: The rows of this rank, (rows, dim), of which there are at least two on all ranks together.
        k: Neighbours of a class; less where there are fewer other classes.
        twin_similarity: Cosine past which a neighbour is a twin; None for no twins.
        exact_up_to: See :func:`is_exact`.
        seed: Of the first centres of the lists and of samples.
    """

    def __init__(
        self,
        shards: Shards,
        weight: torch.Tensor,
        k: int,
        *,
        twin_similarity: float | None = None,
        exact_up_to: int | None = None,
        seed: int = 0,
    ) -> None:
        self.shards, self.weight, self.seed = shards, weight.detach(), seed
        self.k = min(k, shards.num_classes - 1)
        self.twin_similarity = twin_similarity
        on_gpu = weight.device.type != "cpu"
        exact = is_exact(shards.num_classes, exact_up_to, on_gpu)
        self.num_lists = 0 if exact else lists_for(-(-shards.num_classes // shards.ranks))
        self._block = block_of(on_gpu, exact)
        self.neighbours = torch.zeros(len(weight), self.k, dtype=torch.int32, device=weight.device)
        self.twins = torch.zeros(len(weight), dtype=torch.uint8, device=weight.device)
        self.blocks = self.rounds = self.cursor = 0
        self._sizes: list[int] = []  # rows of the fullest rank in each block
        self.block_cost = 0.0
        self.seconds = 0.0
        self.search: Search
        if exact or not len(weight):
            self.search = ExactSearch(self.weight, self._block)
        else:
            self.search = InvertedLists(self.weight, self._block)

    def build(self) -> None:
        """Searches for all rows."""
        self.restart()
        self.refresh(self.blocks)
        give_back_memory()

    def restart(self) -> None:
        """Puts the rows into lists anew, where there are lists, and begins a round."""
        started = time.perf_counter()
        if isinstance(self.search, InvertedLists):
            self.search.fill(generator(self.seed, self.shards.rank, self.weight.device))
            give_back_memory()
        self._count_blocks()
        self.cursor = 0
        self.seconds += time.perf_counter() - started

    def refresh(self, blocks: int) -> None:
        """Searches for the next blocks, and begins anew after the last."""
        started = time.perf_counter()
        for _ in range(blocks):
            self._search_block(self.cursor)
            self.cursor += 1
            if self.cursor == self.blocks:
                self.search.end_round()
                self._count_blocks()
                self.cursor, self.rounds = 0, self.rounds + 1
        self.seconds += time.perf_counter() - started

    def lookup(self, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Neighbours (n, K) int64, nearest first, and how many of the first are twins (n,) int64.

        Args:
            classes: Class indices, (n,) int64, the same on all ranks.
        """
        own = self.shards.classes
        local = classes - own.start
        if self.shards.ranks == 1:
            return self.neighbours[local].long(), self.twins[local].long()
        here = ((local >= 0) & (local < len(own))).nonzero().squeeze(1)
        found = torch.zeros(len(classes), self.k + 1, dtype=torch.int32, device=classes.device)
        found[here, :-1] = self.neighbours[local[here]]
        found[here, -1] = self.twins[local[here]].int()
        found = self.shards.total(found).long()
        return found[:, :-1], found[:, -1]

    def recall(self, sample: int, step: int) -> float:
        """The share of the K nearest classes as they are now that the graph has, over a sample of the classes.

        Args:
            sample: Classes, drawn by the seed and the step.
            step: See there.
        """
        num_classes, device = self.shards.num_classes, self.weight.device
        random = generator(self.seed, step, device)
        classes = torch.randint(num_classes, (sample,), generator=random, device=device)
        own = self.shards.classes
        here = (classes >= own.start) & (classes < own.stop)
        vectors = torch.zeros(sample, self.weight.shape[1], device=device)
        vectors[here] = unit(self.weight[classes[here] - own.start].float())
        vectors = self.shards.total(vectors).to(self.weight.dtype)
        found = self._among_own(ExactSearch(self.weight, self._block), vectors)
        of_all = self.shards.gather(found.cosines), self.shards.gather(found.rows)
        _, true = self._best(*of_all, classes)
        kept, _ = self.lookup(classes)
        return float((true.unsqueeze(2) == kept.unsqueeze(1)).any(dim=2).float().mean())

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Tensors with an entry for each class of this rank, and this rank's other tensors. Not collective."""
        return {"neighbours": self.neighbours, "twins": self.twins}, self.search.state()

    def restore(self, cursor: int, rounds: int) -> None:
        """Goes on from where a graph stood, once its values are in the tensors of the state."""
        self.search.restore()
        self._count_blocks()
        self.cursor, self.rounds = cursor, rounds

    def _count_blocks(self) -> None:
        """The same number on all ranks: one with fewer rows has empty blocks in the end."""
        sizes, device = self.search.sizes, self.weight.device
        counts = torch.tensor([len(sizes), self.search.compared], device=device)
        self.blocks, compared = self.shards.maximum(counts).tolist()
        of_all = F.pad(sizes, (0, self.blocks - len(sizes))).to(device)
        self._sizes = self.shards.maximum(of_all).tolist()
        self.block_cost = max(self.shards.num_classes / max(self.blocks, 1), _WORTH) * compared
        if device.type != "cpu":
            self.block_cost = max(self.block_cost, _GPU_LEAST)

    def _search_block(self, block: int) -> None:
        rows = self.search.rows_of(block)
        vectors = unit(self.weight.index_select(0, rows))
        of_all = self._of_all_ranks(vectors, self._sizes[block])
        found = [self._among_own(self.search, part) for part in of_all]
        scores = self.shards.exchange(torch.cat([part.cosines for part in found]))
        classes = self.shards.exchange(torch.cat([part.rows for part in found]))
        scores, classes = self._best(scores, classes, rows + self.shards.classes.start)
        self.neighbours[rows] = classes
        if self.twin_similarity is not None:
            self.twins[rows] = (scores >= self.twin_similarity).sum(dim=1).to(torch.uint8)
        self.search.learn(rows, found[self.shards.rank].homes[: len(rows)])

    def _of_all_ranks(self, vectors: torch.Tensor, size: int) -> tuple[torch.Tensor, ...]:
        """The vectors of each rank, padded to so many; apart, as those of two ranks are not of one list."""
        if self.shards.ranks == 1:
            return (vectors,)
        even = F.pad(vectors, (0, 0, 0, size - len(vectors)))
        return torch.split(self.shards.gather(even), size)

    def _among_own(self, search: Search, queries: torch.Tensor) -> Nearest:
        """The nearest of this rank: always K + 1 cosines, and class indices, int32, -1 where there are no more."""
        found = search.nearest(queries, self.k + 1)
        cosines = torch.full((len(queries), self.k + 1), -2.0, device=queries.device)
        classes = torch.full_like(cosines, -1, dtype=torch.int32)
        cosines[:, : found.cosines.shape[1]] = found.cosines
        own = torch.where(found.rows >= 0, found.rows + self.shards.classes.start, -1)
        classes[:, : own.shape[1]] = own.int()
        return Nearest(cosines, classes, found.homes)

    def _best(
        self, scores: torch.Tensor, classes: torch.Tensor, own: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The best of what each rank found, (ranks * n, K + 1), for so many classes, but for themselves."""
        ranks, each = self.shards.ranks, len(scores) // self.shards.ranks
        scores, classes = (
            part.view(ranks, each, self.k + 1).transpose(0, 1).flatten(1)[: len(own)]
            for part in (scores, classes)
        )
        scores = scores.masked_fill(classes == own.unsqueeze(1), -3.0)
        found = scores.topk(self.k, dim=1)
        return found.values, classes.gather(1, found.indices)
