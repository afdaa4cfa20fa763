"""Stochastic rounding to bf16: what is too small to change a row still does so on average."""

from __future__ import annotations

import sys

import torch

# Which half of an fp32 number, seen as two 16-bit ones, is its bf16 part.
_HIGH = 1 if sys.byteorder == "little" else 0


def round_stochastically(values: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Rounds to one of the two nearest bf16 numbers, up with a probability that makes it right on average.

    The noise of an entry is the sum of one number for its row and one for its column, modulo the step: uniform for
    every entry, as needed, and independent between any two of them; far cheaper than one number an entry.

    Args:
        values: (n, dim) fp32, contiguous; overwritten.
        random: Its device is that of the values.

    Returns:
        (n, dim) bf16, a view of what was overwritten.
    """
    rows, columns = values.shape
    draw = torch.randint(
        0, 2**16, (rows + columns,), generator=random, device=values.device, dtype=torch.int32
    )
    noise = draw[:rows].unsqueeze(1) + draw[rows:]
    bits = values.view(torch.int32)
    bits += noise.bitwise_and_(0xFFFF)
    return values.view(torch.bfloat16).view(rows, columns, 2)[..., _HIGH]
