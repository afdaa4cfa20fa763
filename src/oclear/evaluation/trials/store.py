"""Trials on disk, each a file that is there as a whole or not at all: a killed run goes on with those it lacks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from oclear.errors import FormatError
from oclear.output import atomic_file
from oclear.tables import write_table

_FORMAT = 1
_QUERY_ID = "query_id"


@dataclass(frozen=True, eq=False)
class Trial:
    """One training, measured.

    Args:
        arm: What was tried.
        condition: What it learned from.
        seed: Of the log and of the training.
        query_ids: (Q,) the photos measured on.
        measures: Of each photo, by name; (Q,) float64 in [0, 1].
        seconds: Of learning, with all that it alone needs.
        facts: Numbers and texts worth keeping: steps, classes, comparisons of an epoch, what was chosen.
    """

    arm: str
    condition: str
    seed: int
    query_ids: NDArray[np.object_]
    measures: dict[str, NDArray[np.float64]]
    seconds: float
    facts: dict[str, Any] = field(default_factory=dict)


class TrialStore:
    """Trials by arm, condition and seed; and the scores of what was tried on validation photos to choose.

    Args:
        folder: Of the run; trials are kept in ``trials/``, choices in ``choices/``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, arm: str, condition: str, seed: int) -> Trial | None:
        """A trial that was kept, or None.

        Raises:
            FormatError: Its file is damaged, or of another version.
        """
        path = self._place("trials", arm, condition) / f"seed-{seed}.parquet"
        if not path.is_file():
            return None
        try:
            table = pq.ParquetFile(path).read()
            kept = json.loads((table.schema.metadata or {})[b"trial"])
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise FormatError(
                f"{path}: damaged ({str(error)[:80]})", "Remove it; --resume makes it again."
            ) from error
        if kept.get("format") != _FORMAT:
            raise FormatError(
                f"{path}: is of format {kept.get('format')}, this version reads {_FORMAT}",
                "Start again with --overwrite.",
            )
        measures = {
            name: table[name].to_numpy() for name in table.column_names if name != _QUERY_ID
        }
        ids = table[_QUERY_ID].to_numpy().astype(object)
        return Trial(arm, condition, seed, ids, measures, kept["seconds"], kept["facts"])

    def keep(self, trial: Trial) -> None:
        """Keeps a trial."""
        place = self._place("trials", trial.arm, trial.condition)
        place.mkdir(parents=True, exist_ok=True)
        kept = {
            "format": _FORMAT,
            "arm": trial.arm,
            "condition": trial.condition,
            "seed": trial.seed,
            "seconds": trial.seconds,
            "facts": trial.facts,
        }
        table = pa.table({_QUERY_ID: trial.query_ids.astype(str), **trial.measures})
        table = table.replace_schema_metadata({"trial": json.dumps(kept)})
        write_table(table, place / f"seed-{trial.seed}.parquet")

    def find_choice(
        self, arm: str, condition: str, number: int, seed: int, candidate: dict[str, Any]
    ) -> float | None:
        """The score of a candidate, or None where it was not tried yet, or another one under that number."""
        path = self._choice(arm, condition, number, seed)
        if not path.is_file():
            return None
        try:
            kept = json.loads(path.read_text())
            score = float(kept.pop("score"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"{path}: damaged", "Remove it; --resume makes it again.") from error
        return score if kept == candidate else None

    def keep_choice(
        self,
        arm: str,
        condition: str,
        number: int,
        seed: int,
        score: float,
        candidate: dict[str, Any],
    ) -> None:
        """Keeps the validation score of a candidate, learned with a seed."""
        path = self._choice(arm, condition, number, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write_text(json.dumps({"score": score, **candidate}) + "\n")

    def _choice(self, arm: str, condition: str, number: int, seed: int) -> Path:
        return self._place("choices", arm, condition) / f"{number}-seed-{seed}.json"

    def _place(self, kind: str, arm: str, condition: str) -> Path:
        name = re.sub(r"[^a-z0-9]+", "-", arm.lower()).strip("-")
        return self.folder / kind / condition / name
