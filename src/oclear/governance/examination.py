"""Position bias: how likely a visitor looks at each place of a result list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_DEEPEST = 1000
# Clicks on one item shown for like photos that are enough to leave comparisons across photos aside.
_ENOUGH_CLICKS = 100
# What is assumed before any click, as if so many clicks had said it: the curve follows a power law of
# the position, and that power is near 0, that is no bias.
_CURVE_CLICKS = 10.0
_POWER_CLICKS = 1.0
_LEAST = 0.01

Compared = Literal["photo and item", "item", "nothing"]


@dataclass(frozen=True, eq=False)
class Examination:
    """The position bias of a log, and how well it is determined.

    Args:
        curve: (largest position + 1,) how likely each position is looked at, in (0, 1], the best one 1; positions past
            the 1000th count as one.
        clicks: (largest position + 1,) the clicks it rests on: those on what was seen at several positions.
        compared: What was compared with itself at other positions. With ``photo and item`` the curve is free of how
            well an item fits the photo; with ``item`` it is too steep where the search puts first what fits the photo.
        seen_at_several: How many of these were seen at several positions and clicked.
        exposures: All exposures.
    """

    curve: NDArray[np.float64]
    clicks: NDArray[np.int64]
    compared: Compared
    seen_at_several: int
    exposures: int


def position_examination(
    table: pa.Table, photo_groups: NDArray[np.int64] | None = None
) -> Examination:
    """How likely each position is looked at, estimated from what was seen at several positions.

    The position-based model (Richardson et al., 2007): the chance of a click is the worth of what is shown times the
    examination of its position. Each item has a worth of its own, so one that is seen at one position says nothing,
    and good items that stand in front are not taken for bias. Worth differs from photo to photo, so an item is
    compared with itself only for photos of one group (as Agarwal et al., 2019, do for one query), as long as at least
    100 clicks can be compared so; else with itself for any photo.

    The worths drop out of the likelihood once the clicks of each item are given (a Poisson model with fixed effects:
    Hausman et al., 1984), so that many items with few clicks each do no harm. Where clicks are few, the curve is drawn
    towards a power law of the position, and that towards no bias.

    Args:
        table: The log: ``query_id``, ``item_id``, ``position`` (int32, from 0) and ``clicked``, without nulls.
        photo_groups: (rows,) a number for photos that show the same, -1 for those like no other; where not given, the
            searches with one and the same photo are a group.

    Returns:
        The curve is 1 throughout where nothing can be compared.
    """
    position = positions_of(table)
    groups = codes_of(table["query_id"]) if photo_groups is None else photo_groups
    log = pa.table(
        {
            "photo": pa.array(groups),
            "item": pa.array(codes_of(table["item_id"])),
            "position": pa.array(position),
            "clicked": table["clicked"],
        }
    )
    length = int(position.max(initial=-1)) + 1
    compared: Compared = "photo and item"
    counts = _seen_at_several(log, ["photo", "item"])
    if _clicks(counts) < _ENOUGH_CLICKS:
        compared = "item"
        counts = _seen_at_several(log, ["item"])
    if _clicks(counts) == 0:
        nothing = np.zeros(length, np.int64)
        return Examination(np.ones(length), nothing, "nothing", 0, len(table))
    units = [counts[name].to_numpy() for name in counts.column_names[:-3]]
    first = np.any([np.diff(unit, prepend=-1) != 0 for unit in units], axis=0)
    unit = np.cumsum(first) - 1
    place = counts["position"].to_numpy()
    clicks = counts["clicks"].to_numpy().astype(np.float64)
    curve = _fit(unit, place, counts["shown"].to_numpy().astype(np.float64), clicks, length)
    by_position = np.bincount(place, clicks, minlength=length).astype(np.int64)
    return Examination(curve, by_position, compared, int(unit[-1]) + 1, len(table))


def positions_of(table: pa.Table) -> NDArray[np.int32]:
    """(rows,) the position of each exposure; those past the 1000th count as one."""
    positions: NDArray[np.int32] = np.minimum(table["position"].to_numpy(), _DEEPEST)
    return positions


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(rows,) equal values as equal numbers from 0."""
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), np.int64)


def _seen_at_several(table: pa.Table, by: list[str]) -> pa.Table:
    """``by``, ``position``, ``shown``, ``clicks`` of what has a click and was seen at several positions, in order."""
    import ibis

    log = ibis.memtable(table)
    if "photo" in by:
        log = log.filter(log.photo >= 0)
    # Few things are clicked: the rest goes before anything is counted.
    log = log.semi_join(log.filter(log.clicked).select(by).distinct(), by)
    counts = log.group_by([*by, "position"]).aggregate(
        shown=lambda t: t.count(), clicks=lambda t: t.clicked.cast("int64").sum()
    )
    units = counts.group_by(by).aggregate(positions=lambda t: t.count())
    units = units.filter(units.positions > 1)
    wanted = counts.semi_join(units, by).order_by([*by, "position"])
    # A connection of its own, closed: the shared one complains of leaks when the program ends.
    connection = ibis.duckdb.connect()
    found = connection.to_pyarrow(wanted)
    connection.disconnect()
    return found


def _clicks(counts: pa.Table) -> int:
    return int(counts["clicks"].to_numpy().sum())


def _fit(
    unit: NDArray[np.int64],
    place: NDArray[np.int32],
    shown: NDArray[np.float64],
    clicks: NDArray[np.float64],
    length: int,
) -> NDArray[np.float64]:
    """(length,) the curve of the greatest posterior; the problem is convex, so there is one.

    Its logarithm is a free part for each position minus a power times log(1 + position).
    """
    from scipy.optimize import minimize

    at_place = np.bincount(place, clicks, minlength=length)
    of_unit = np.bincount(unit, clicks)
    depth = np.log1p(np.arange(length))

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        free, power = parameters[:-1], parameters[-1]
        log_curve = free - power * depth
        expected = shown * np.exp(log_curve)[place]
        total = np.bincount(unit, expected)
        value = of_unit @ np.log(total) - at_place @ log_curve
        value += (_CURVE_CLICKS * (free @ free) + _POWER_CLICKS * power**2) / 2
        slope = np.bincount(place, expected * (of_unit / total)[unit], minlength=length) - at_place
        gradient = np.append(slope + _CURVE_CLICKS * free, _POWER_CLICKS * power - slope @ depth)
        return float(value), gradient

    options: dict[str, Any] = {"maxiter": 300, "ftol": 1e-10, "gtol": 1e-5}
    found = minimize(loss, np.zeros(length + 1), jac=True, method="L-BFGS-B", options=options)
    log_curve = found.x[:-1] - found.x[-1] * depth
    return np.asarray(np.maximum(np.exp(log_curve - log_curve.max()), _LEAST))
