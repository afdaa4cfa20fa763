"""What trials found, written out: table, plot, page, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group

from oclear.commands.shared.result import CommandResult, to_json
from oclear.commands.trials.data import TrialData
from oclear.evaluation.trials import ArmSummary, Trial, summarize
from oclear.evaluation.trials.page import write_page
from oclear.evaluation.trials.plot import write_plot
from oclear.evaluation.trials.table import PRIMARY, markdown, table_cells, terminal_table
from oclear.output import atomic_file

Notes = list[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Presentation:
    """How results are shown.

    Args:
        title: Of the page.
        titles: Of the arms.
        reference: The arm that others are compared with.
        notes: What there is to say below the figures.
        facts: Of the run.
        typed: The command as the user typed it.
    """

    title: str
    titles: Mapping[str, str]
    reference: str
    notes: Notes
    facts: list[tuple[str, str]]
    typed: str


def write_results(
    folder: Path, trials: Sequence[Trial], data: TrialData, shown: Presentation
) -> CommandResult:
    """Writes ``results.json``, ``table.md``, ``plot.png`` and ``report.html``."""
    rows = summarize(trials, shown.reference)
    conditions = {"log": "log", "truth": "true labels"}
    if not data.has_own_log:
        conditions["log"] = f"{100 * data.config.simulation.wrong:.0f} % wrong clicks"
    heading, lines = table_cells(rows, shown.titles, conditions, shown.reference)
    name = data.data.resolve().name
    seeds = "1 seed" if rows[0].seeds == 1 else f"{rows[0].seeds} seeds"
    size = f"{len(data.photos):,} test photos, {len(data.items):,} items, {seeds}"
    simulated = None
    if "log" in {row.condition for row in rows} and data.is_simulated:
        wrong = data.config.simulation.wrong
        simulated = "The clicks are simulated from the true items of the training photos" + (
            f", {100 * wrong:.0f} % of them wrong." if not data.has_own_log else "."
        )
    spread = "95 % intervals over seeds and photos"
    write_plot(
        folder / "plot.png",
        rows,
        shown.titles,
        conditions,
        shown.reference,
        measure=PRIMARY,
        heading=f"{shown.title}: {name}",
        note=f"Identical@1, {size}; {spread}",
    )
    facts = [
        ("photos", f"{len(data.queries):,} to learn from, {len(data.photos):,} measured on"),
        ("items", f"{len(data.items):,}"),
        ("machine", f"{platform.machine()}, {os.cpu_count()} cores"),
        *shown.facts,
    ]
    about = (
        f"{spread}; p of no difference by a bootstrap of pairs that draws seeds and photos anew, made larger for the "
        f"number of arms (Holm); differences in points"
    )
    write_page(
        folder / "report.html",
        title=f"{shown.title}: {name}",
        subtitle=size,
        about=f"{about}.",
        simulated=simulated,
        heading=heading,
        lines=lines,
        reference=shown.titles[shown.reference],
        plots=[(folder / "plot.png", f"Identical@1 of each arm, {size}")],
        notes=shown.notes,
        facts=facts,
        command=shown.typed,
    )
    text = [f"# {shown.title}: {name}", f"{size}; {about}.", simulated or ""]
    text.append(markdown(heading, lines))
    for title, points in shown.notes:
        text += [f"## {title}", "\n".join(f"- {point}" for point in points)]
    _write(folder / "table.md", "\n\n".join(part for part in text if part) + "\n")
    found = {
        "data": name,
        "simulated": simulated,
        "reference": shown.reference,
        "queries": len(data.photos),
        "gallery": len(data.items),
        "seeds": rows[0].seeds,
        "arms": _as_json(rows),
        "notes": {title: list(points) for title, points in shown.notes},
        "report": str(folder / "report.html"),
        "out": str(folder),
    }
    _write(folder / "results.json", json.dumps(to_json(found), indent=2) + "\n")
    view = [terminal_table(*_brief(heading, lines), f"{shown.title}: {name}, {size}")]
    return CommandResult(found, Group(*view, *filter(None, [simulated]), str(found["report"])))


def _as_json(rows: list[ArmSummary]) -> dict[str, dict[str, Any]]:
    """Condition -> arm -> what was found."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row.condition, {})[row.arm] = {
            "measures": {n: round(e["value"], 6) for n, e in row.measures.items()},
            "intervals": {
                n: [round(e["low"], 6), round(e["high"], 6)] for n, e in row.measures.items()
            },
            "seed_spread": {n: round(value, 6) for n, value in row.seed_spread.items()},
            "against_reference": {n: asdict(d) for n, d in row.against.items()},
            "minutes": round(row.minutes, 3),
            "facts": row.facts,
        }
    return found


def _brief(heading: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without further measures and intervals, which a terminal has no room for."""
    kept = [i for i, cell in enumerate(heading) if not cell.startswith(("MAP@", "Relevance@"))]
    without_intervals = [[re.sub(r" \([^)]*\)", "", line[i]) for i in kept[1:]] for line in lines]
    return [heading[i] for i in kept], [
        [line[0], *cells] for line, cells in zip(lines, without_intervals, strict=True)
    ]


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write_text(text)
