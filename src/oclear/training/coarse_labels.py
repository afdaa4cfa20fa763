"""The catalogue's own groups as further classes: which one an ID belongs to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.tables import Pictures
from oclear.training.samples import SampleSet

_COLUMN = "coarse_label"


def add_coarse_labels(
    samples: SampleSet, items: pa.Table, documents: Pictures, weight: float
) -> SampleSet:
    """The samples with the coarse labels of their IDs as further classes; the same where no item has one.

    Args:
        samples: Of IDs alone.
        items: Their ``coarse_label`` is read, where there is such a column.
        documents: Pictures of the items.
        weight: See :meth:`SampleSet.with_coarse_labels`.
    """
    if _COLUMN not in items.column_names:
        return samples
    coarse, names = coarse_of_ids(samples, documents, items[_COLUMN])
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
        (num_ids,) place of each ID's among the names, -1 where none of its documents has any; and the names.
    """
    names = sorted(pc.unique(coarse).drop_null().to_pylist())
    of_item = pc.index_in(coarse, pa.array(names, coarse.type)).fill_null(-1).to_numpy()
    members = samples.members(document=True)
    ids = np.repeat(np.arange(samples.num_ids), members.counts)
    label = of_item[documents.rows[samples.picture[members.rows]]]
    ids, label = ids[label >= 0], label[label >= 0]
    pairs, counts = np.unique(np.stack([ids, label]), axis=1, return_counts=True)
    order = np.lexsort([pairs[1], -counts, pairs[0]])
    first, at = np.unique(pairs[0][order], return_index=True)
    found = np.full(samples.num_ids, -1, np.int64)
    found[first] = pairs[1][order][at]
    return found, tuple(names)
