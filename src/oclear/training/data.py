"""What a training run is given."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oclear.tables import Pictures
from oclear.training.samples import SampleSet


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Samples, and the pictures and texts they speak of.

    Args:
        samples: Which picture belongs to which IDs.
        queries: Pictures of the training queries.
        documents: Pictures of the items.
        texts: One text an item; ``documents.rows`` says which item a picture is of.
        links: (L, 2) class indices that evidence ties without merging them: they are not pushed apart.
    """

    samples: SampleSet
    queries: Pictures
    documents: Pictures
    texts: list[str]
    links: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
