"""One picture: each arm's measure with its interval, conditions side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from oclear.evaluation.trials.summary import ArmSummary
from oclear.output import atomic_file

# Dark enough on white, told apart by eyes that know no red from green, and by their marks in print.
_LOOKS = (("#2b6a9e", "o"), ("#c8711a", "D"), ("#5f676f", "s"))
_SOFT, _LINE = "#5f676f", "#e2e4e6"
# Letters of the note on one line.
_NOTE_WIDTH = 115


def write_plot(
    path: Path,
    rows: Sequence[ArmSummary],
    titles: Mapping[str, str],
    conditions: Mapping[str, str],
    reference: str,
    *,
    measure: str,
    heading: str,
    note: str,
) -> None:
    """Writes a PNG; it appears whole or not at all.

    Args:
        path: The file.
        rows: Summaries.
        titles: Of the arms, from top to bottom as they come in ``rows``.
        conditions: Titles of the conditions.
        reference: Its line goes through the picture.
        measure: Which one is drawn.
        heading: What is shown.
        note: What must be said with it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    arms = list(dict.fromkeys(row.arm for row in rows))
    shown = [c for c in conditions if any(row.condition == c for row in rows)]
    room = ConstrainedLayoutEngine(w_pad=0.16, h_pad=0.14)
    figure = Figure(figsize=(8.6, 2.1 + 0.46 * len(arms)), dpi=160, layout=room)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, condition in enumerate(shown):
        colour, mark = _LOOKS[number % len(_LOOKS)]
        shift = 0.26 * (number - (len(shown) - 1) / 2)
        mine = [row for row in rows if row.condition == condition and measure in row.measures]
        values = [row.measures[measure]["value"] for row in mine]
        ends = [
            [v - row.measures[measure]["low"] for v, row in zip(values, mine, strict=True)],
            [row.measures[measure]["high"] - v for v, row in zip(values, mine, strict=True)],
        ]
        places = [arms.index(row.arm) + shift for row in mine]
        axes.errorbar(
            values,
            places,
            xerr=ends,
            fmt=mark,
            color=colour,
            markersize=6.5,
            elinewidth=1.6,
            capsize=2.5,
            label=conditions[condition],
            zorder=3,
        )
        for value, place, row in zip(values, places, mine, strict=True):
            high = row.measures[measure]["high"]
            axes.annotate(
                f"{value:.3f}",
                (high, place),
                (6, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
                color=colour,
            )
            if row.arm == reference:
                axes.axvline(value, color=colour, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.6)
    axes.set_yticks(range(len(arms)), [titles[arm] for arm in arms], fontsize=10)
    for label, arm in zip(axes.get_yticklabels(), arms, strict=True):
        label.set_fontweight("bold" if arm == reference else "normal")
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_SOFT, labelcolor="#1d2125")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    # Of the figure, not of the axes: beside long names of arms these are too narrow for it.
    figure.supxlabel(textwrap.fill(note, _NOTE_WIDTH), fontsize=9, color=_SOFT)
    axes.set_title(heading, loc="left", fontsize=12.5, fontweight="bold", pad=30)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=len(shown),
        frameon=False,
        fontsize=9.5,
        borderaxespad=0.2,
        handletextpad=0.4,
    )
    with atomic_file(path) as file:
        figure.savefig(file, format="png")
