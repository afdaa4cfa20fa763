"""Position bias: how likely a visitor looks at each place of a result list."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_DEEPEST = 1000


def position_examination(table: pa.Table) -> NDArray[np.float64]:
    """How likely each position is looked at, the best one 1, estimated from items seen at several positions.

    The clicks of a position are compared with those to be expected from the items that stood there, each at its
    own overall click rate: one step of the position-based model (Richardson et al., 2007). Positions with little data
    are drawn towards their expectation.

    Returns:
        (largest position + 1,) in (0, 1]; positions past the 1000th count as one.
    """
    position = positions_of(table)
    clicked = table["clicked"].to_numpy(zero_copy_only=False).astype(float)
    codes = table["item_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    shown = np.bincount(codes)
    rate = (np.bincount(codes, clicked) + clicked.mean()) / (shown + 1)
    expected = np.bincount(position, rate[codes])
    observed = np.bincount(position, clicked)
    ratio = (observed + 1) / (expected + 1)
    return np.asarray(np.clip(ratio / ratio.max(), 0.01, 1.0))


def positions_of(table: pa.Table) -> NDArray[np.int32]:
    """(rows,) the position of each exposure; those past the 1000th count as one."""
    positions: NDArray[np.int32] = np.minimum(table["position"].to_numpy(), _DEEPEST)
    return positions
