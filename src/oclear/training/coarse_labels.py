"""The catalogue's own groups as further classes: which one an ID belongs to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.tables import Pictures
from oclear.tables.schema import COARSE_LABEL
from oclear.training.samples import SampleSet


def add_coarse_labels(
    samples: SampleSet, items: pa.Table, documents: Pictures, weight: float
) -> SampleSet:
    """The samples with the coarse labels of their IDs as further classes; the same where no ID has one.

    Args:
        samples: Of IDs alone.
        items: Their ``coarse_label`` is read, where there is such a column.
        documents: Pictures of the items.
        weight: See :meth:`SampleSet.with_coarse_labels`.
    """
    if COARSE_LABEL not in items.column_names:
        return samples
    coarse, names = coarse_of_ids(samples, documents, items[COARSE_LABEL])
    return samples.with_coarse_labels(coarse, names, weight) if names else samples


def coarse_of_ids(
    samples: SampleSet, documents: Pictures, coarse: pa.ChunkedArray
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The coarse label that most documents of an ID have; of equally many the first by name.

    Args:
        samples: Theirs.
        documents: Pictures of the items.
        coarse: Of each item, null where it has none.

    Returns:
        (num_ids,) place of each ID's among the names, -1 where none of its documents has any; and the names that some
        ID has, sorted: a class without samples would be a negative of every photo.
    """
    names = sorted(pc.unique(coarse).drop_null().to_pylist())
    of_item = pc.index_in(coarse, pa.array(names, coarse.type)).fill_null(-1).to_numpy()
    members = samples.members(document=True)
    ids = np.repeat(np.arange(samples.num_ids), members.counts)
    label = of_item[documents.rows[samples.picture[members.rows]]]
    ids, label = ids[label >= 0], label[label >= 0]
    pairs, counts = np.unique(np.stack([ids, label]), axis=1, return_counts=True)
    order = np.lexsort([pairs[1], -counts, pairs[0]])
    ids, first = np.unique(pairs[0][order], return_index=True)
    used, place = np.unique(pairs[1][order][first], return_inverse=True)
    found = np.full(samples.num_ids, -1, np.int64)
    found[ids] = place
    return found, tuple(names[label] for label in used)
