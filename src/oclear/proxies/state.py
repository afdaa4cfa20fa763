"""What a checkpoint has to hold of the proxies."""

from __future__ import annotations

from dataclasses import dataclass

import torch

Plain = dict[str, int | float | None]


@dataclass(frozen=True)
class ProxyState:
    """References to all that a classifier has learned.

    Attributes:
        rows: Tensors with an entry for each class of this rank, in the order of the classes: to be put together and
            cut anew for another number of ranks.
        rank: Other tensors of this rank; of use on the same number of ranks only.
        plain: Numbers that are equal on all ranks.
    """

    rows: dict[str, torch.Tensor]
    rank: dict[str, torch.Tensor]
    plain: Plain
