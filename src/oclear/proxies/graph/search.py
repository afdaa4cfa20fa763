"""What a search for nearest proxies is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch


class Nearest(NamedTuple):
    """What a search found.

    Attributes:
        cosines: (n, at most k), descending; -2 where there are no more.
        rows: Of this rank, (n, at most k) int64.
        homes: Where each query itself belongs, for :meth:`Search.learn`, (n,) int64.
    """

    cosines: torch.Tensor
    rows: torch.Tensor
    homes: torch.Tensor


class Search(Protocol):
    """Finds the nearest rows of this rank; goes through its own rows in blocks, round after round.

    Attributes:
        sizes: Rows of each block of a round, (blocks,) int64, on the CPU.
        compared: Rows and centres that each row is compared with.
    """

    sizes: torch.Tensor
    compared: int

    def rows_of(self, block: int) -> torch.Tensor:
        """The rows of a block, (n,) int64; none past the last one."""
        ...

    def nearest(self, queries: torch.Tensor, k: int) -> Nearest:
        """The nearest rows of this rank, themselves among them where they are its own.

        Args:
            queries: Rows of one block of any rank, unit length, (n, dim), n at least 1.
            k: Rows wanted.
        """
        ...

    def learn(self, rows: torch.Tensor, homes: torch.Tensor) -> None:
        """Takes note of what a block of this rank's rows is now.

        Args:
            rows: (n,) int64.
            homes: What :meth:`nearest` found for them, (n,).
        """
        ...

    def end_round(self) -> None:
        """All blocks have been gone through."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """What it has learned, for this number of ranks."""
        ...

    def restore(self) -> None:
        """Called when other values were written into the tensors of the state."""
        ...
