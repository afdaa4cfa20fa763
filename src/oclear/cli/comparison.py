"""The method beside others, and without its parts: ``compare ablate``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from oclear.cli.options import (
    ConfigFile,
    Json,
    Labels,
    LabelSource,
    Out,
    Overrides,
    Overwrite,
    Resume,
    TrueData,
    as_overrides,
)
from oclear.cli.run import run, typed_line


class ComparedLabels(StrEnum):
    """Where the labels of compared methods come from."""

    log = "log"
    truth = "truth"
    both = "both"


Wrong = Annotated[
    float | None,
    typer.Option(
        "--wrong", help="Share of wrong clicks, 0.4 if not given; short for simulation.wrong=."
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", help="Logs and trainings, 3 if not given; short for seeds=."),
]


def compare(
    data: TrueData,
    out: Out,
    overrides: Overrides = None,
    labels: Annotated[
        ComparedLabels, typer.Option(help="Learn from the log, the truth, or each in turn.")
    ] = ComparedLabels.both,
    wrong: Wrong = None,
    seeds: Seeds = None,
    quick: Annotated[bool, typer.Option("--quick", help="Heads on cached features only.")] = False,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Ours beside the methods that people would use instead, on equal terms."""
    from oclear.commands import compare as command
    from oclear.config import build_config

    short = as_overrides({"simulation.wrong": wrong, "seeds": seeds})
    settings = build_config(
        command.CompareConfig, config, [*short, *(overrides or [])], command.PRESETS[quick]
    )
    run(
        lambda reporter: command.compare(
            data,
            labels.value,
            out,
            settings,
            reporter,
            command=typed_line(),
            overwrite=overwrite,
            resume=resume,
        ),
        json_,
    )


def ablate(
    data: TrueData,
    out: Out,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[first-experiments] [KEY.SUB=VALUE]...",
            help="The three experiments to begin with, instead of parts; configuration values.",
        ),
    ] = None,
    parts: Annotated[
        str | None, typer.Option(help="Parts to take out, with commas; all if not given.")
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="One more arm, 'name: key.sub=value key.sub=value'; may be repeated."),
    ] = None,
    labels: Labels = LabelSource.log,
    wrong: Wrong = None,
    seeds: Seeds = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Heads and fusion on cached features only.")
    ] = False,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """What does each part of the method bring? Each taken out in turn."""
    from oclear.commands import ablate as command
    from oclear.config import build_config

    words = [word for word in overrides or [] if word != command.FIRST_EXPERIMENTS]
    is_first = len(words) < len(overrides or [])
    short = as_overrides({"simulation.wrong": wrong, "seeds": seeds})
    settings = build_config(command.AblateConfig, config, [*short, *words], command.PRESETS[quick])
    arms = command.chosen_arms(settings, data, parts, arm or [], first=is_first)
    run(
        lambda reporter: command.ablate(
            data,
            labels.value,
            arms,
            out,
            settings,
            reporter,
            command=typed_line(),
            overwrite=overwrite,
            resume=resume,
        ),
        json_,
    )
