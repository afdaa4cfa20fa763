"""Optimisers that read and write active rows only."""

from oclear.proxies.optimizer.rows import RowAdagrad, RowMomentum

__all__ = ["RowAdagrad", "RowMomentum"]
