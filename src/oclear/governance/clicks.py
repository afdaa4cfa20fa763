"""What visitors clicked, corrected for where it stood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.examination import Examination, position_examination, positions_of
from oclear.tables import Exposures, Items, Queries, index_of

_MAX_CORRECTION = 3.0
_PURCHASE = 2.0


@dataclass(frozen=True, eq=False)
class Clicks:
    """Click support of (query, item) pairs.

    Args:
        matrix: (queries, items) sparse, position-corrected weight of the clicks; 0 where there is none.
        positions: The estimated position bias, and how well it is determined.
        clicks: Clicked exposures.
        exposures: All exposures.
    """

    matrix: csr_matrix
    positions: Examination
    clicks: int
    exposures: int

    @property
    def examination(self) -> NDArray[np.float64]:
        """(positions,) estimated chance that a visitor looks at a position, the best one 1."""
        return self.positions.curve


def click_support(
    exposures: Exposures,
    queries: Queries,
    items: Items,
    photo_groups: NDArray[np.int64] | None = None,
) -> Clicks:
    """Sums the clicks of each query on each item.

    A click on a place that few look at says more, so it counts 1 / examination, at most three times; with a column
    ``propensity`` that is used instead, where it is given. A purchase counts twice.

    Args:
        exposures: The log.
        queries: The photos whose clicks count.
        items: The catalogue.
        photo_groups: (queries,) a number for photos that show the same, -1 for those like no other: the position bias
            is then estimated free of how well an item fits a photo; see
            :func:`~oclear.governance.examination.position_examination`.
    """
    import ibis

    table = exposures.table
    query = index_of(table["query_id"], queries.table["query_id"])
    groups = None
    if photo_groups is not None:
        # Photos that are not among the queries come last, where -1 looks.
        groups = np.append(photo_groups, -1)[query]
    examination = position_examination(table, groups)
    looked_at = examination.curve[positions_of(table)]
    if "propensity" in table.column_names:
        given = table["propensity"].to_numpy()
        looked_at = np.where(np.isnan(given), looked_at, given)
    correction = 1 / np.clip(looked_at, 1 / _MAX_CORRECTION, 1.0)
    columns = {
        "query": pa.array(query),
        "item": pa.array(index_of(table["item_id"], items.table["item_id"])),
        "clicked": table["clicked"],
        "weight": pa.array(correction),
    }
    if "purchased" in table.column_names:
        columns["purchased"] = table["purchased"]
    log = ibis.memtable(pa.table(columns))
    counted = log.filter(log.clicked & (log["query"] >= 0) & (log["item"] >= 0))
    weight = counted.weight
    if "purchased" in columns:
        weight = weight * ibis.ifelse(counted.purchased.fill_null(False), _PURCHASE, 1.0)
    summed = (
        counted.mutate(weight=weight)
        .group_by(["query", "item"])
        .aggregate(weight=lambda t: t.weight.sum(), clicks=lambda t: t.count())
        .order_by(["query", "item"])
    )
    # A connection of its own, closed: the shared one complains of leaks when the program ends.
    connection = ibis.duckdb.connect()
    support = connection.to_pyarrow(summed)
    connection.disconnect()
    matrix = csr_matrix(
        (
            support["weight"].to_numpy(),
            (support["query"].to_numpy(), support["item"].to_numpy()),
        ),
        shape=(len(queries), len(items)),
    )
    return Clicks(matrix, examination, int(support["clicks"].to_numpy().sum()), len(exposures))
