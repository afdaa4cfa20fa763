"""Rows of a large tensor as ``torch.distributed.checkpoint`` (DCP) sees them: saved by some ranks, loaded by others."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    MetadataIndex,
    TensorProperties,
)
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

_BLOCK_BYTES = 64 << 20


class RowShard(torch.Tensor):
    """Stands for a tensor of all rows, of which this rank has some.

    A DTensor could say the same, but only within a process group, and DCP would write it as one piece a rank. Here
    rows are written in blocks of about 64 MB: a rank of another count reads the blocks that it needs and not those
    around them, and loading takes one block more than the tensor itself, not twice its size.

    Args:
        rows: This rank's rows, (n, ...); saved from, and loaded into in place.
        start: Number of the first of them.
        total: Number of rows on all ranks.
    """

    rows: torch.Tensor
    start: int

    @staticmethod
    def __new__(cls, rows: torch.Tensor, start: int, total: int) -> RowShard:
        """A tensor with the shape of all rows and no storage of its own."""
        shape = (total, *rows.shape[1:])
        shard: RowShard = torch.Tensor._make_wrapper_subclass(
            cls, shape, dtype=rows.dtype, device=rows.device
        )
        shard.rows, shard.start = rows.detach(), start
        return shard

    def __init__(self, rows: torch.Tensor, start: int, total: int) -> None:
        super().__init__()

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuses to compute: these rows are only carried to disk and back."""
        raise TypeError(f"{cls.__name__} takes no part in {function}")

    @property
    def _block(self) -> int:
        row_bytes = self.rows[:1].numel() * self.rows.element_size()
        return max(1, _BLOCK_BYTES // max(1, row_bytes))

    # The three methods of torch.distributed._checkpointable, by which any tensor can take part in DCP.

    def __create_chunk_list__(self) -> list[ChunkStorageMetadata]:
        """The blocks of rows that are here."""
        rest = self.rows.shape[1:]
        return [
            ChunkStorageMetadata(
                offsets=torch.Size([self.start + at, *[0] * len(rest)]),
                sizes=torch.Size([min(self._block, len(self.rows) - at), *rest]),
            )
            for at in range(0, len(self.rows), self._block)
        ]

    def __create_write_items__(self, name: str, _: Any) -> list[WriteItem]:
        """What is to be written."""
        properties = TensorProperties.create_from_tensor(self.rows)
        return [
            WriteItem(
                index=MetadataIndex(name, block.offsets),
                type=WriteItemType.SHARD,
                tensor_data=TensorWriteData(block, properties, self.size()),
            )
            for block in self.__create_chunk_list__()
        ]

    def __get_tensor_shard__(self, index: MetadataIndex) -> torch.Tensor:
        """One of the blocks, as a view."""
        assert index.offset is not None
        at = index.offset[0] - self.start
        return self.rows[at : at + self._block]
