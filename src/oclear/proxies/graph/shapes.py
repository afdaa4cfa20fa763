"""Few shapes of matrix products in bf16."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def padded(vectors: torch.Tensor, multiple: int) -> torch.Tensor:
    """Adds rows of zeros to (n, dim) up to a multiple, unless they are fp32.

    Products in bf16 are compiled for each shape that comes, and kept (oneDNN): a hundred kilobytes each.

    Example:
        >>> padded(torch.ones(5, 2, dtype=torch.bfloat16), 4).shape, padded(torch.ones(5, 2), 4).shape
        (torch.Size([8, 2]), torch.Size([5, 2]))
    """
    if vectors.dtype == torch.float32:
        return vectors
    return F.pad(vectors, (0, 0, 0, -len(vectors) % multiple))
