"""Options that commands of several files share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LabelSource(StrEnum):
    """Where training labels come from."""

    log = "log"
    truth = "truth"


# Of a run
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Configuration values, above --config."),
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML configuration.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a non-empty output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped run was.")]
Out = Annotated[Path, typer.Option("--out", help="The folder to write.")]

# What the user brings
TrueData = Annotated[
    Path, typer.Option("--data", help="Folder with items, queries and their truth.")
]
Items = Annotated[Path, typer.Option("--items", help="The catalogue: a table or a folder.")]
Exposures = Annotated[Path | None, typer.Option("--exposures", help="The exposure log.")]
Labels = Annotated[LabelSource, typer.Option("--labels", help="Learn from the log or the truth.")]

# What other commands made
Features = Annotated[Path | None, typer.Option("--features", help="The folder of 'oclear embed'.")]
Model = Annotated[str, typer.Option("--model", help="Model folder, output of train, or hub id.")]
Vectors = Annotated[
    Path | None,
    typer.Option("--vectors", help="Document vectors of this model, from 'oclear embed'."),
]
IndexFolder = Annotated[Path, typer.Option("--index", help="The folder of 'oclear index'.")]


def as_overrides(short: Mapping[str, str | float | None]) -> list[str]:
    """Options that are short for configuration values, in the form of overrides; those not given are left out.

    Example:
        >>> as_overrides({"k": 5, "where": "colour == 'red'", "port": None})
        ['k=5', 'where="colour == \\'red\\'"']
    """
    return [f"{key}={_as_yaml(value)}" for key, value in short.items() if value is not None]


def _as_yaml(value: str | float) -> str:
    # JSON is YAML too: a filter with a colon or a quote in it stays one text.
    return json.dumps(value) if isinstance(value, str) else str(value)
