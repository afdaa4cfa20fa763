"""What proxies need of memory, known before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oclear.proxies.config import ProxyConfig
from oclear.proxies.graph.exact import columns_at_once
from oclear.proxies.graph.kmeans import compared_with, groups_of, vectors_at_once
from oclear.proxies.graph.lists import ADDED_AT_ONCE, lists_for
from oclear.proxies.graph.neighbours import block_of, is_exact
from oclear.proxies.loss import samples_at_once
from oclear.proxies.start import BLOCK

CPU_LIBRARIES = 48 << 20
"""What matrix libraries, and the allocator of what is freed, keep beside tensors; mostly 30 to 70 MB were measured."""

OptimizerName = Literal["adamw", "momentum", "adagrad"]


@dataclass(frozen=True)
class ProxyMemory:
    """Bytes of the fullest rank.

    Attributes:
        weight: The proxies.
        optimizer: What the optimiser remembers of them.
        graph: Neighbours, twins and lists.
        step: What a step allocates: active rows, their gradients, logits; or else an exact search of the graph.
        sorting: What lists take for a moment after each round of searches: their means, or else their rows on the way
            through sorting.
        start: What the first directions, or else the first centres of the lists, take for a moment.
    """

    weight: int
    optimizer: int
    graph: int
    step: int
    sorting: int
    start: int

    @property
    def total(self) -> int:
        """The most of it that is there at once."""
        training = self.optimizer + max(self.step, self.sorting)
        return self.weight + self.graph + max(self.start, training)


def proxy_memory(
    num_classes: int,
    dim: int,
    config: ProxyConfig,
    *,
    batch: int,
    ranks: int = 1,
    optimizer: OptimizerName = "adamw",
    on_gpu: bool = False,
) -> ProxyMemory:
    """Estimates the memory that training proxies takes, embeddings and encoders aside.

    Args:
        num_classes: Of all ranks.
        dim: Of the embeddings.
        config: Precision and selection.
        batch: Samples of a step, all ranks together.
        ranks: That share the classes.
        optimizer: ``adamw`` is torch's dense one, the others are those of :mod:`oclear.proxies.optimizer`.
        on_gpu: Logits come in larger blocks there.

    Example:
        >>> proxy_memory(10_000_000, 256, ProxyConfig(), batch=512).weight
        10240000000
    """
    rows = -(-num_classes // ranks)
    centres, dim = config.sub_centres, dim * config.sub_centres
    libraries = 0 if on_gpu else CPU_LIBRARIES
    is_half = config.precision == "bf16"
    entry = 2 if is_half else 4
    remembered = {"adamw": 2 * dim * entry, "momentum": dim * entry, "adagrad": 4}[optimizer]
    # A block of directions, and in bf16 what is written of it.
    block = min(num_classes * centres, BLOCK) * dim // centres
    graph, search, sorting, start = 0, 0, 0, block * (6 if is_half else 4)
    if config.selection.kind == "knn":
        graph = rows * (4 * config.selection.neighbours + 1)
        exact = is_exact(num_classes, config.selection.exact_up_to, on_gpu)
        if exact:
            # Comparisons of a block of rows with others, and these on their way to unit length.
            others = min(rows, columns_at_once(on_gpu))
            search = others * (block_of(on_gpu, exact) * entry + dim * (10 if is_half else 4))
        else:
            lists = lists_for(rows)
            graph += 8 * rows + (lists + groups_of(lists)) * dim * entry
            # Means are sums of fp32 first; new centres are there before the old ones go.
            means = lists * dim * (6 if is_half else 4) + min(rows, ADDED_AT_ONCE) * dim * 8
            sorting = max(means, 24 * rows) + libraries
            # While centres are learned and rows assigned: a block of rows on its way to unit length, its comparisons,
            # means, and the group of each row.
            centres_compared = compared_with(lists)
            assigned = vectors_at_once(centres_compared, on_gpu)
            learning = assigned * (centres_compared * entry + dim * (12 if is_half else 8))
            start = max(start, learning + means + 16 * rows + libraries, sorting)
    active = -(-config.selection.active_classes(num_classes) // ranks)
    logits = min(batch, samples_at_once(batch, active * centres, on_gpu)) * active * centres
    # Active rows at unit length, their gradient, logits and softmax. In bf16 products are copies of their own.
    comparing = active * dim * 8 + logits * (10 if is_half else 8)
    if centres > 1:  # the nearest of each class, and which one it is, on their way
        comparing += logits // centres * (4 + 2 * 8)
    # The gradient, and of each active row what it is changed by; in bf16 a copy of it and the noise that rounds it, and
    # where the processor has bf16 what is left of the products' copies.
    updating = active * dim * (18 if is_half else 8)
    step = max(comparing, updating, search) + libraries
    return ProxyMemory(rows * dim * entry, rows * remembered, graph, step, sorting, start)
