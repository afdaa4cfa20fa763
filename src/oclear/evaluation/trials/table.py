"""One row an arm, conditions side by side: as Markdown, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table

from oclear.evaluation.trials.paired import Difference
from oclear.evaluation.trials.summary import ArmSummary

PRIMARY = "identical@1"
_FURTHER = ("map@10", "relevance@1")
Cells = list[str]


def table_cells(
    rows: Sequence[ArmSummary],
    titles: Mapping[str, str],
    conditions: Mapping[str, str],
    reference: str,
) -> tuple[Cells, list[Cells]]:
    """Headings and rows of text.

    Args:
        rows: Summaries; the reference comes where it is.
        titles: Of the arms.
        conditions: Titles of the conditions, in order.
        reference: The arm compared with.
    """
    shown = [c for c in conditions if any(row.condition == c for row in rows)]
    further = [name for name in _FURTHER if any(name in row.measures for row in rows)]
    heading = [""]
    for condition in shown:
        title = conditions[condition]
        heading += [f"Identical@1, {title}", f"against {titles[reference]}"]
        heading += [f"{_measure(name)}, {title}" for name in further]
    heading += ["minutes", "cosines an epoch"]
    lines = []
    for arm in dict.fromkeys(row.arm for row in rows):
        mine = {row.condition: row for row in rows if row.arm == arm}
        line = [titles[arm]]
        for condition in shown:
            line += _cells(mine.get(condition), further)
        last = mine[next(c for c in shown if c in mine)]
        cosines = last.facts.get("cosines_an_epoch")
        minutes = f"{last.minutes:.1f}" if last.minutes >= 0.05 else "< 0.1"
        line += [minutes, "" if cosines is None else f"{cosines:,}"]
        lines.append(line)
    return heading, lines


def markdown(heading: Cells, lines: list[Cells]) -> str:
    """A Markdown table.

    Example:
        >>> print(markdown(["arm", "x"], [["ours", "1|2"]]))
        | arm | x |
        |---|---|
        | ours | 1\\|2 |
    """
    every = [heading, ["---"] * len(heading), *lines]
    texts = []
    for number, line in enumerate(every):
        cells = [cell.replace("|", "\\|") for cell in line]
        texts.append(f"|{'|'.join(cells)}|" if number == 1 else f"| {' | '.join(cells)} |")
    return "\n".join(texts)


def terminal_table(heading: Cells, lines: list[Cells], title: str) -> Table:
    """The same for a terminal."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for number, cell in enumerate(heading):
        table.add_column(cell, justify="right" if number else "left")
    for line in lines:
        table.add_row(*line)
    return table


def _cells(row: ArmSummary | None, further: Sequence[str]) -> Cells:
    if row is None:
        return [""] * (2 + len(further))
    first = row.measures[PRIMARY]
    cells = [f"{first['value']:.3f} ({first['low']:.3f} to {first['high']:.3f})"]
    cells.append(difference_text(row.against[PRIMARY]) if row.against else "")
    return cells + [
        f"{row.measures[name]['value']:.3f}" if name in row.measures else "" for name in further
    ]


def difference_text(difference: Difference) -> str:
    """Points and p, for example ``-3.2 (-5.0 to -1.4), p < 0.001``.

    Example:
        >>> difference_text(Difference(-0.032, -0.05, -0.0141, 0.0002))
        '-3.2 (-5.0 to -1.4), p < 0.001'
    """
    low, high = 100 * difference.low, 100 * difference.high
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    return f"{100 * difference.value:+.1f} ({low:+.1f} to {high:+.1f}), {p}"


def _measure(name: str) -> str:
    return {"map@10": "MAP@10", "relevance@1": "Relevance@1"}[name]
