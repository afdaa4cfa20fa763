"""The page of a run of trials: one file that needs nothing else, no script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import jinja2

from oclear.evaluation.trials.table import Cells
from oclear.output import atomic_file


def write_page(
    path: Path,
    *,
    title: str,
    subtitle: str,
    about: str,
    simulated: str | None,
    heading: Cells,
    lines: list[Cells],
    reference: str,
    plots: Sequence[tuple[Path, str]],
    notes: Sequence[tuple[str, Sequence[str]]],
    facts: Sequence[tuple[str, str]],
    command: str,
) -> None:
    """Writes the page; it appears whole or not at all.

    Args:
        path: The HTML file.
        title: What was compared.
        subtitle: On what.
        about: How to read the table, below it.
        simulated: What of it is not real, said before all figures.
        heading: Of the table.
        lines: Of the table.
        reference: The title of the arm that others are compared with.
        plots: PNG files, which the page takes in, and what they show.
        notes: Headings, and what there is to say below them.
        facts: Name and value of whatever else is worth knowing.
        command: As the user typed it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oclear.evaluation.trials", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = [(base64.b64encode(plot.read_bytes()).decode("ascii"), alt) for plot, alt in plots]
    page = environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        about=about,
        simulated=simulated,
        heading=heading,
        lines=lines,
        reference=reference,
        pictures=pictures,
        notes=notes,
        facts=facts,
        command=command,
    )
    with atomic_file(path) as file:
        file.write_text(page, encoding="utf-8")
