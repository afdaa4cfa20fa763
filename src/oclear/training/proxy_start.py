"""Where proxies start: at the means of their members."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from oclear.training.embedder import Inputs
from oclear.training.samples import SampleSet
from oclear.training.sources import BATCH_SIZE, Source


def members_of(
    classes: range,
    samples: SampleSet,
    source: Source,
    embed: Callable[[Inputs], torch.Tensor],
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """All members of some classes, in batches: embeddings (n, dim), class indices (n,) and label weights (n,).

    Each rank reads the members of its own classes, so nothing has to travel.
    """
    is_wanted = (samples.labels >= classes.start) & (samples.labels < classes.stop)
    wanted = np.flatnonzero(is_wanted.any(axis=1))
    for start in range(0, len(wanted), BATCH_SIZE):
        rows = wanted[start : start + BATCH_SIZE]
        embeddings = embed(source.samples(rows))
        sample, place = np.nonzero(is_wanted[rows])
        yield (
            embeddings[torch.from_numpy(sample).to(embeddings.device)],
            torch.from_numpy(samples.labels[rows][sample, place]).to(embeddings.device),
            torch.from_numpy(samples.label_weights[rows][sample, place]).to(embeddings.device),
        )
