"""The page of ``oclear categories sweep``: each measure against granularity, one line a method, no script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

# Of a plot, in CSS pixels; and its margins: left, top, right, bottom.
_WIDTH, _HEIGHT = 520, 300
_LEFT, _TOP, _RIGHT, _BOTTOM = 46, 14, 16, 40
_MOST_TICKS = 6
# Of an axis: differences that mean nothing shall not look large.
_LEAST_SPAN = 0.1

_PLOTS = (
    (
        "identical_at_1",
        "Identical@1 after a quick training",
        "share of validation photos whose first item is a true one, with 95 % intervals",
    ),
    ("bcubed_f1", "B-cubed F1", "both ways of being wrong in one number"),
    ("pair_precision", "Pair precision", "of two items in one ID, how often they are one product"),
    ("pair_recall", "Pair recall", "of two items of one product, how often they are in one ID"),
    ("estimated_purity", "Estimated purity", "what governance believes without knowing the truth"),
)


@dataclass(frozen=True)
class _Axis:
    """Values to pixels, with ticks at round numbers.

    Args:
        low: Value at ``start``.
        high: Value at ``stop``.
        start: Pixel.
        stop: Pixel.
        ticks: Round values between both.
    """

    low: float
    high: float
    start: float
    stop: float
    ticks: tuple[float, ...]

    @classmethod
    def of(cls, values: list[float], start: float, stop: float) -> _Axis:
        """An axis with a little room around the values."""
        low, high = min(values), max(values)
        room = max(0.06 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
        low, high = max(0.0, low - room), min(1.0 + 0.02, high + room)
        steps = [base * 10.0**power for power in range(-4, 1) for base in (1, 2, 5)]
        step = next(s for s in steps if (high - low) / s <= _MOST_TICKS)
        first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        ticks = tuple(round(float(n * step), 6) + 0.0 for n in np.arange(first, last + 1))
        return cls(low, high, start, stop, ticks)

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 2)


def write_sweep_page(path: Path, data: dict[str, Any], command: str) -> None:
    """Writes ``sweep.html``: one file that needs nothing else.

    Args:
        path: The HTML file.
        data: What ``sweep.json`` holds; ``points`` in the order of their method, then from fine to coarse.
        command: As the user typed it.
    """
    points = [{**row, "setting": _setting(row)} for row in data["points"]]
    methods = list(dict.fromkeys(row["method"] for row in points))
    plots = [
        _plot(points, methods, key, title, about, data["true_ids_per_item"])
        for key, title, about in _PLOTS
        if any(row[key] is not None for row in points)
    ]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oclear.commands.categories", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("sweep.html.j2").render(
        data=data,
        points=points,
        methods=methods,
        plots=plots,
        command=command,
        columns=[
            (key, title) for key, title, _ in _PLOTS if any(p[key] is not None for p in points)
        ],
        best=_best(points),
        size=(_WIDTH, _HEIGHT),
    )
    path.write_text(page)


def _plot(
    points: list[dict[str, Any]],
    methods: list[str],
    key: str,
    title: str,
    about: str,
    truth: float | None,
) -> dict[str, Any]:
    """What the template draws: axes, and for each method a line, its points and their intervals."""
    known = [row for row in points if row[key] is not None]
    low, high = f"{key}_low", f"{key}_high"
    values = [row[name] for row in known for name in (key, low, high) if row.get(name) is not None]
    across = [row["ids_per_item"] for row in known] + ([] if truth is None else [truth])
    x = _Axis.of(across, _LEFT, _WIDTH - _RIGHT)
    y = _Axis.of(values, _HEIGHT - _BOTTOM, _TOP)
    lines = []
    for number, method in enumerate(methods):
        mine = [row for row in known if row["method"] == method]
        marks = [
            {
                "x": x(row["ids_per_item"]),
                "y": y(row[key]),
                "low": None if row.get(low) is None else y(row[low]),
                "high": None if row.get(high) is None else y(row[high]),
                "label": f"{method}, {row['setting']}: {row[key]:.4f} at {row['category_ids']:,} IDs",
            }
            for row in mine
        ]
        path = " ".join(f"{mark['x']},{mark['y']}" for mark in marks)
        lines.append({"method": method, "number": number, "path": path, "marks": marks})
    return {
        "title": title,
        "about": about,
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "frame": (_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM),
        "truth": None if truth is None else x(truth),
        "lines": lines,
    }


def _best(points: list[dict[str, Any]]) -> dict[str, float]:
    """The highest value of what has its best in the middle; precision and recall have it at the ends."""
    wanted = ("identical_at_1", "bcubed_f1")
    known = {key: [p[key] for p in points if p[key] is not None] for key in wanted}
    return {key: max(values) for key, values in known.items() if values}


def _setting(row: dict[str, Any]) -> str:
    share = row["clusters_share"]
    return f"radius {row['radius']:g}" if share is None else f"{share:g} clusters an item"
