"""When which part of the graph is refreshed."""

from __future__ import annotations

# What one comparison of a search costs beside one logit of a training step with its three products: it is one product,
# but the rows are gathered for few others and the largest have to be found. Measured on a CPU: 0.9 in fp32 at 100,000
# classes of 64 numbers, 2.4 at a million of 256.
_COST_OF_COMPARISON = 2.5


def blocks_per_step(share: float, logits: float, comparisons: float) -> float:
    """Blocks that may be refreshed in a step: by work, not by time, so that every run decides alike.

    Args:
        share: Of a step's work, 0 or more.
        logits: Of a step.
        comparisons: Of a block.

    Example:
        >>> blocks_per_step(0.1, logits=1e7, comparisons=1e6)
        0.4
    """
    return share * logits / (_COST_OF_COMPARISON * max(comparisons, 1.0))


def blocks_due(step: int, rate: float) -> int:
    """Blocks to refresh after a step, so many a step on average.

    Example:
        >>> [blocks_due(step, 0.4) for step in range(5)]
        [0, 0, 1, 0, 1]
    """
    return int((step + 1) * rate) - int(step * rate)
