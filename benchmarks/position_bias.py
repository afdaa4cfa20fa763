"""Is the position bias that ``categorize`` estimates the one that is there?

    python benchmarks/position_bias.py [--quick] [--json]

1. ``known_bias``: a made-up log of the position-based model where good items mostly stand in front; the curve is known.
2. ``simulated_shop``: the project's own log simulator, whose search puts first what fits the photo. Items compared with
   themselves whatever the photo, within groups of photos that show the same, and within such groups a fifth wrong.
3. ``zozotown``: the sample of the Open Bandit Dataset that the package ``obp`` carries (Saito et al., 2021; CC BY 4.0):
   real clicks on three places of a fashion shop. Under its random policy plain click rates are the unbiased curve; the
   estimate from the log of its Thompson sampling policy should agree with them. Skipped where ``obp`` is not there:
   ``pip install --no-deps obp`` is enough.
4. ``seconds``: the time for 10 M exposures.

The error of a curve is the largest absolute difference of its logarithm from the true one's, both of mean 0 (0.1 is
about 10 %), over positions with at least 20 clicks.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from _report import print_figures
from numpy.typing import NDArray

from oclear.datasets import SimulationConfig, simulate_exposures
from oclear.governance.examination import position_examination
from oclear.tables import Items, Queries, Truth, index_of

POSITIONS = 12
LEAST_CLICKS = 20
CAMPAIGNS = ("all", "men", "women")
RESAMPLES = 200


def log_table(photo: Any, item: Any, position: Any, clicked: Any) -> pa.Table:
    """The columns of the exposures that the estimate reads."""
    return pa.table(
        {
            "query_id": pa.array(np.asarray(photo)).cast(pa.string()),
            "item_id": pa.array(np.asarray(item)).cast(pa.string()),
            "position": pa.array(np.asarray(position), pa.int32()),
            "clicked": pa.array(np.asarray(clicked, bool)),
        }
    )


def plain_rates(table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Clicks per exposure, and clicks, by position."""
    position, clicked = table["position"].to_numpy(), table["clicked"].to_numpy()
    clicks = np.bincount(position, clicked)
    return clicks / np.maximum(np.bincount(position), 1), clicks


def curve_error(found: Any, true: Any, clicks: Any) -> float:
    """See the head of this file."""
    used = np.asarray(clicks) >= LEAST_CLICKS
    difference = np.log(np.maximum(found, 1e-9))[used] - np.log(true)[used]
    return round(float(np.abs(difference - difference.mean()).max()), 3)


def known_bias(searches: int, power: float, rng: np.random.Generator) -> dict[str, Any]:
    """Items of Zipf popularity and log-normal worth, which is what the lists are mostly sorted by."""
    items = max(200, searches // 40)
    worth = np.minimum(0.9, 0.05 * rng.lognormal(0, 1, items))
    odds = 1 / np.arange(1, items + 1) ** 1.1
    shown = rng.choice(items, (searches, POSITIONS), p=odds / odds.sum())
    score = np.log(worth)[shown] + 0.7 * rng.standard_normal(shown.shape)
    shown = np.take_along_axis(shown, np.argsort(-score, axis=1), axis=1)
    true = 1 / np.arange(1, POSITIONS + 1) ** power
    clicked = rng.random(shown.shape) < worth[shown] * true
    table = log_table(
        np.repeat(np.arange(searches), POSITIONS),
        shown.ravel(),
        np.tile(np.arange(POSITIONS), searches),
        clicked.ravel(),
    )
    found = position_examination(table)
    rates, clicks = plain_rates(table)
    return {
        "clicks": int(clicks.sum()),
        "error": curve_error(found.curve, true, clicks),
        "error_plain_rates": curve_error(rates, true, clicks),
        "fifth_position": [round(true[4], 3), round(found.curve[4], 3)],
    }


def simulated_shop(searches: int, power: float, seed: int) -> dict[str, Any]:
    """The project's simulator; clicks are few, as its lists run out of right items to click otherwise."""
    rng = np.random.default_rng(seed)
    count = 500
    here = Path("simulated")
    ids = [f"i{k}" for k in range(count)]
    items = Items(here, pa.table({"item_id": ids, "image_path": ids}))
    photos = [f"q{k}" for k in range(searches)]
    queries = Queries(here, pa.table({"query_id": photos, "image_path": photos}))
    odds = 1 / np.arange(1, count + 1) ** 1.1
    shows = rng.choice(count, searches, p=odds / odds.sum())
    truth = Truth(
        here, pa.table({"query_id": photos, "item_id": items.table["item_id"].take(shows)})
    )
    alike = (np.arange(count)[:, None] + np.arange(1, 9)) % count
    config = SimulationConfig(position_bias=power, clicks=0.1, list_length=POSITIONS, seed=seed)
    log = simulate_exposures(items, queries, truth, config, alike)
    true = 1 / np.arange(1, POSITIONS + 1) ** power
    photo = index_of(log["query_id"], queries.table["query_id"])
    mistaken = np.where(rng.random(searches) < 0.2, rng.integers(0, count, searches), shows)
    curves = {
        "error_items_alone": position_examination(log, np.full(len(log), -1)),
        "error_within_photo_groups": position_examination(log, shows[photo]),
        "error_within_groups_a_fifth_wrong": position_examination(log, mistaken[photo]),
    }
    rates, clicks = plain_rates(log)
    errors = {name: curve_error(found.curve, true, clicks) for name, found in curves.items()}
    return {
        "clicks": int(clicks.sum()),
        "error_plain_rates": curve_error(rates, true, clicks),
        **errors,
    }


def zozotown() -> dict[str, Any]:
    """The three campaigns together, as items of their own each; intervals are of 90 % by bootstrap over rows."""
    place = importlib.util.find_spec("obp")
    if place is None or not place.submodule_search_locations:
        return {"skipped": "the package obp is not installed"}
    folder = Path(place.submodule_search_locations[0]) / "dataset" / "obd"
    random, thompson = (zozotown_log(folder / policy) for policy in ("random", "bts"))
    rng = np.random.default_rng(0)
    unbiased = [relative(plain_rates(sample)[0]) for sample in resampled(random, rng)]
    ours = [relative(position_examination(sample).curve) for sample in resampled(thompson, rng)]
    found = position_examination(thompson)
    centre = relative(plain_rates(random)[0])
    differences = np.array(ours) - np.array(unbiased)
    low, high = np.percentile(differences, [5, 95], axis=0)
    return {
        "random_policy": {
            "clicks": plain_rates(random)[1].astype(int),
            "plain_rates": centre.round(3),
            "interval": np.percentile(unbiased, [5, 95], axis=0).round(3),
            "estimate": relative(position_examination(random).curve).round(3),
        },
        "thompson_policy": {
            "clicks": plain_rates(thompson)[1].astype(int),
            "compared": found.compared,
            "clicks_compared": found.clicks,
            "plain_rates": relative(plain_rates(thompson)[0]).round(3),
            "estimate": relative(found.curve).round(3),
            "interval": np.percentile(ours, [5, 95], axis=0).round(3),
        },
        "difference": (relative(found.curve) - centre).round(3),
        "difference_interval": [low.round(3), high.round(3)],
        "agree": bool(((low <= 0) & (high >= 0)).all()),
    }


def zozotown_log(folder: Path) -> pa.Table:
    parts = []
    for campaign in CAMPAIGNS:
        rows = pa_csv.read_csv(folder / campaign / f"{campaign}.csv")
        photos = [f"{campaign} {row}" for row in range(len(rows))]  # nobody searches with a photo
        items = [f"{campaign} {item}" for item in rows["item_id"].to_pylist()]
        parts.append(log_table(photos, items, rows["position"].to_numpy() - 1, rows["click"]))
    return pa.concat_tables(parts)


def relative(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of mean 1, so that no position's own noise is in all the others."""
    return curve / curve.mean()


def resampled(table: pa.Table, rng: np.random.Generator) -> Any:
    for _ in range(RESAMPLES):
        yield table.take(pa.array(rng.integers(0, len(table), len(table))))


def seconds(rows: int, rng: np.random.Generator) -> dict[str, Any]:
    """A log of 200,000 items of Zipf popularity, 12 a search, each photo searched once."""
    search, position = np.divmod(np.arange(rows), POSITIONS)
    # Twelve sorts of items, each once a search and at any position.
    sort = (position + rng.integers(0, POSITIONS, rows // POSITIONS + 1)[search]) % POSITIONS
    item = np.minimum(rng.zipf(1.3, rows), 200_000 // POSITIONS) * POSITIONS + sort
    table = log_table(search, item, position, rng.random(rows) < 0.08)
    start = time.perf_counter()
    found = position_examination(table)
    return {
        "exposures": rows,
        "compared": found.compared,
        "items_compared": found.seen_at_several,
        "seconds": round(time.perf_counter() - start, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the size")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    powers = (0.0, 0.5, 1.0, 1.5)
    figures = {
        "known_bias": {
            str(p): known_bias(100_000 // scale, p, np.random.default_rng(1)) for p in powers
        },
        "simulated_shop": {str(p): simulated_shop(200_000 // scale, p, 1) for p in powers},
        "zozotown": zozotown(),
        "seconds": seconds(10_000_000 // scale, np.random.default_rng(1)),
    }
    print_figures(figures, options.json)


if __name__ == "__main__":
    main()
