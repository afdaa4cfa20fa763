"""What a search for nearest proxies is."""

from __future__ import annotations

from typing import Protocol

import torch


class Search(Protocol):
    """Finds the nearest rows of this rank; goes through its own rows in blocks, round after round.

    Attributes:
        blocks: Of a round.
        compared: Rows that each row is compared with.
    """

    blocks: int
    compared: int

    def rows_of(self, block: int) -> torch.Tensor:
        """The rows of a block, (n,) int64; none past the last one."""
        ...

    def nearest(self, queries: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The nearest rows of this rank, themselves among them where they are its own.

        Args:
            queries: Rows of one block of any rank, unit length, (n, dim).
            k: Rows wanted.

        Returns:
            Cosines (n, at most k), descending, -2 where there are no more; and rows (n, at most k) int64.
        """
        ...

    def learn(self, rows: torch.Tensor, vectors: torch.Tensor) -> None:
        """Takes note of what a block of rows of this rank, (n,), is now, (n, dim) unit length."""
        ...

    def end_round(self) -> None:
        """All blocks have been gone through."""
        ...

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """What it has learned: tensors with an entry for each row that are the same on any number of ranks; others."""
        ...

    def restore(self) -> None:
        """Called when other values were written into the tensors of the state."""
        ...
