"""``metrics.jsonl``: one line for every few steps, every validation and every look at the run's health."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oclear.output import atomic_file

END = "end"
"""Stands for the stage in lines of what comes after the last one."""


class MetricsLog:
    """Appends lines; a resumed run first drops those that it will write again.

    Args:
        path: The file.
        is_writing: False on the ranks that do not write.
    """

    def __init__(self, path: Path, *, is_writing: bool = True) -> None:
        self.path, self.is_writing = path, is_writing

    def write(self, stage: str, step: int, total_step: int, **values: Any) -> None:
        """One line of values at a step."""
        if self.is_writing:
            line = {"stage": stage, "step": step, "total_step": total_step, **values}
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def cut(self, total_step: int) -> None:
        """Keeps the lines up to a step, and drops one that a kill left half written."""
        if not self.is_writing:
            return
        kept = []
        if self.path.is_file():
            for line in self.path.read_text().splitlines():
                try:
                    values = json.loads(line)
                except ValueError:
                    continue
                # What comes after the last stage is done again by every run that goes on.
                if values["total_step"] <= total_step and values["stage"] != END:
                    kept.append(line + "\n")
        with atomic_file(self.path) as file:
            file.write_text("".join(kept))
