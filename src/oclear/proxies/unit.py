"""Proxies as directions."""

from __future__ import annotations

import torch


def unit(rows: torch.Tensor) -> torch.Tensor:
    """The rows (n, dim) at length one, in their own precision. Rows of zeros stay."""
    return rows.float().div(length(rows)).to(rows.dtype)


def length(rows: torch.Tensor) -> torch.Tensor:
    """The length of each row (n, dim), (n, 1) fp32, at least 1e-12."""
    lengths: torch.Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float32)
    return lengths.clamp_min_(1e-12)
