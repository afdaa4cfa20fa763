"""What there is to know of a method beside ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from oclear.errors import InputError
from oclear.evaluation.comparison.pair_sampler import Draw
from oclear.training.objective import Objective

_LIBRARIES = {
    "pytorch_metric_learning": "pytorch-metric-learning",
    "sentence_transformers": "sentence-transformers",
    "matplotlib": "matplotlib",
}


class MakeObjective(Protocol):
    """Makes a method's objective."""

    def __call__(self, classes: int, dim: int, **settings: float) -> Objective:
        """For so many items and embeddings of so many numbers."""
        ...


@dataclass(frozen=True)
class Peer:
    """A method that learns from clicked pairs.

    Attributes:
        name: In figures and file names.
        title: In tables.
        takes_clicks: How it reads the log, in words.
        draw: How its batches are drawn.
        make: Its objective.
        settings: What is tried on validation photos beside learning rates; the library's default first. All methods
            have the same number of them.
    """

    name: str
    title: str
    takes_clicks: str
    draw: Draw
    make: MakeObjective
    settings: tuple[Mapping[str, float], ...]


def require_libraries() -> None:
    """Refuses to begin without the libraries that the other methods come from.

    Raises:
        InputError: One of them is not installed.
    """
    missing = [n for module, n in _LIBRARIES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(
            f"not installed: {', '.join(missing)}", "Install them: pip install 'oclear[compare]'."
        )
