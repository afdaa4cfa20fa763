"""What proxies need of memory, known before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oclear.proxies.config import ProxyConfig
from oclear.proxies.graph.kmeans import scores_at_once
from oclear.proxies.graph.lists import SAMPLE, lists_for
from oclear.proxies.graph.neighbours import is_exact
from oclear.proxies.loss import samples_at_once
from oclear.proxies.start import BLOCK

OptimizerName = Literal["adamw", "momentum", "adagrad"]


@dataclass(frozen=True)
class ProxyMemory:
    """Bytes of the fullest rank.

    Attributes:
        weight: The proxies.
        optimizer: What the optimiser remembers of them.
        graph: Neighbours, twins and lists.
        step: What a step allocates: active rows, their gradients, logits.
        start: What the first directions, or else the first centres of the lists, take for a moment.
    """

    weight: int
    optimizer: int
    graph: int
    step: int
    start: int

    @property
    def total(self) -> int:
        """The most of it that is there at once."""
        return self.weight + self.graph + max(self.start, self.optimizer + self.step)


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
    entry = 4 if config.precision == "fp32" else 2
    remembered = {"adamw": 2 * dim * entry, "momentum": dim * entry, "adagrad": 4}[optimizer]
    # A block of directions, and its copies on the way to unit length.
    graph, start = 0, 3 * 4 * dim // centres * min(num_classes * centres, BLOCK)
    if config.selection.kind == "knn":
        graph = rows * (4 * config.selection.neighbours + 1)
        if not is_exact(num_classes, config.selection.exact_up_to, on_gpu):
            lists = lists_for(rows)
            graph += 8 * rows + lists * dim * (entry + 4)
            # Rows to learn the centres from, as they are and in fp32 on the way; what they are compared by.
            start = max(
                start,
                min(rows, SAMPLE * lists) * dim * (2 * entry + 8) + scores_at_once(on_gpu) * entry,
            )
    active = -(-config.selection.active_classes(num_classes) // ranks)
    # Of each active row: normalised, its gradient in fp32 and in its own precision, and while the optimiser works a
    # copy, its change and the result. All of them at once only in the optimiser, whose copy full softmax does without.
    of_rows = active * dim * (2 * entry + 12)
    logits = min(batch, samples_at_once(batch, active * centres, on_gpu)) * active * centres
    # Logits and their softmax; in bf16 the products are copies of their own.
    of_logits = logits * (8 if entry == 4 else 10)
    if centres > 1:  # the nearest of each class, and which one it is, on their way
        of_logits += logits // centres * (4 + 2 * 8)
    return ProxyMemory(rows * dim * entry, rows * remembered, graph, of_rows + of_logits, start)
