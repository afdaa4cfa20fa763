"""Where models run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from oclear.model import TwoTowerModel


def place(model: TwoTowerModel) -> TwoTowerModel:
    """The model on the GPU where there is one, else where it is."""
    return model.cuda() if torch.cuda.is_available() else model


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Denormal numbers slow long CPU trainings down several times; elsewhere arithmetic stays as it is."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
