"""Nearest proxies by comparing with all of them."""

from __future__ import annotations

import torch

from oclear.proxies.graph.search import Nearest
from oclear.proxies.graph.top import largest
from oclear.proxies.unit import unit

_CPU_COLUMNS, _GPU_COLUMNS = 4096, 65_536


def columns_at_once(on_gpu: bool) -> int:
    """Rows that a block is compared with at a time; each time they are brought to unit length."""
    return _GPU_COLUMNS if on_gpu else _CPU_COLUMNS


class ExactSearch:
    """Compares with every row, block by block, and keeps the best so far.

    Args:
        weight: The rows of this rank; only looked at while searching.
        block: Rows that are searched for at a time.
    """

    def __init__(self, weight: torch.Tensor, block: int) -> None:
        self.weight, self.block = weight, block
        self.compared = len(weight)
        self.sizes = (len(weight) - torch.arange(0, len(weight), block)).clamp(max=block)

    def rows_of(self, block: int) -> torch.Tensor:
        """The rows of a block, (n,) int64, n at most ``block``; none past the last one."""
        start = min(block * self.block, len(self.weight))
        stop = min(start + self.block, len(self.weight))
        return torch.arange(start, stop, device=self.weight.device)

    def nearest(self, queries: torch.Tensor, k: int) -> Nearest:
        """See :meth:`Search.nearest`."""
        scores = queries.new_full((len(queries), k), -2.0)
        rows = torch.full((len(queries), k), -1, device=queries.device)
        size = columns_at_once(on_gpu=self.weight.device.type != "cpu")
        for start in range(0, len(self.weight), size):
            products = queries @ unit(self.weight[start : start + size]).T
            new_scores, columns = largest(products, min(k, products.shape[1]))
            scores = torch.cat([scores, new_scores], dim=1)
            rows = torch.cat([rows, columns + start], dim=1)
            scores, order = scores.topk(k, dim=1)
            rows = rows.gather(1, order)
        return Nearest(scores, rows, rows[:, 0])

    def learn(self, rows: torch.Tensor, homes: torch.Tensor) -> None:
        """Nothing to learn."""

    def end_round(self) -> None:
        """Nothing to do."""

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def restore(self) -> None:
        """Nothing to do."""
