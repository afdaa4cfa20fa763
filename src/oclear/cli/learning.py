"""From clicks to a model: ``demo simulate embed categorize train estimate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oclear.cli.options import (
    ConfigFile,
    Exposures,
    Features,
    Items,
    Json,
    Labels,
    LabelSource,
    Model,
    Out,
    Overrides,
    Overwrite,
    Resume,
    TrueData,
    as_overrides,
)
from oclear.cli.run import run, typed_line


class Preset(StrEnum):
    """How much time a demo takes."""

    fast = "fast"
    quality = "quality"


def demo(
    overrides: Overrides = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder with items, queries and (optionally) exposures, or 'grocery'."),
    ] = None,
    labels: Labels = LabelSource.log,
    preset: Annotated[Preset, typer.Option(help="How much time to take.")] = Preset.fast,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; a new one under runs/ if not given.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """The whole path on a generated shop or your own folder, ending with measures and report.html."""
    from oclear.commands import demo as command
    from oclear.config import build_config

    settings = build_config(
        command.DemoConfig, config, overrides or [], command.PRESETS[preset.value]
    )
    run(
        lambda reporter: command.demo(
            data,
            labels.value,
            preset.value,
            out,
            settings,
            reporter,
            command=typed_line(),
            overwrite=overwrite,
            resume=resume,
        ),
        json_,
    )


def simulate(
    data: TrueData,
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    overrides: Overrides = None,
    wrong: Annotated[
        float | None, typer.Option(help="Share of wrong clicks; short for simulation.wrong=.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """An exposure log with known truth, for the training photos of a folder."""
    from oclear.commands import simulate as command
    from oclear.config import build_config

    short = as_overrides({"simulation.wrong": wrong})
    settings = build_config(command.SimulateConfig, config, [*short, *(overrides or [])])
    run(
        lambda reporter: command.simulate(data, out, settings, reporter, overwrite=overwrite),
        json_,
    )


def embed(
    model: Model,
    out: Out,
    overrides: Overrides = None,
    items: Annotated[Path | None, typer.Option(help="Items to embed.")] = None,
    queries: Annotated[Path | None, typer.Option(help="Queries to embed.")] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Vectors of pictures and texts, as a features folder."""
    from oclear.commands import embed as command
    from oclear.config import build_config

    settings = build_config(command.EmbedConfig, config, overrides or [])
    run(
        lambda reporter: command.embed(
            model, items, queries, out, settings, reporter, overwrite=overwrite
        ),
        json_,
    )


def categorize(
    items: Items,
    out: Out,
    overrides: Overrides = None,
    queries: Annotated[Path | None, typer.Option(help="Photos; split = train is used.")] = None,
    exposures: Exposures = None,
    features: Features = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The eye: a trained model or an encoder; model.image_encoder if not given."
        ),
    ] = None,
    previous: Annotated[
        Path | None, typer.Option(help="The folder of the round before, whose IDs live on.")
    ] = None,
    labels: Labels = LabelSource.log,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Items and exposures -> category IDs."""
    from oclear.commands import categorize as command
    from oclear.config import build_config

    settings = build_config(command.CategorizeConfig, config, overrides or [])
    run(
        lambda reporter: command.categorize(
            items,
            queries,
            exposures,
            features,
            model,
            previous,
            labels.value,
            out,
            settings,
            reporter,
            overwrite=overwrite,
        ),
        json_,
    )


def train(
    samples: Annotated[Path, typer.Option(help="The folder of 'oclear categorize'.")],
    items: Items,
    queries: Annotated[Path, typer.Option(help="The photos.")],
    out: Out,
    overrides: Overrides = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="A model whose weights to start from.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Category IDs -> a two-tower model."""
    from oclear.commands import train as command
    from oclear.config import build_config

    settings = build_config(command.TrainCommandConfig, config, overrides or [])
    run(
        lambda reporter: command.train(
            samples,
            items,
            queries,
            start,
            out,
            settings,
            reporter,
            overwrite=overwrite,
            resume=resume,
        ),
        json_,
    )


def estimate(
    overrides: Overrides = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of category IDs.")] = None,
    samples: Annotated[
        Path | None, typer.Option(help="The folder of 'oclear categorize', to count them in.")
    ] = None,
    dim: Annotated[
        int | None, typer.Option(help="Of embeddings; short for model.embedding_dim=.")
    ] = None,
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    room: Annotated[
        float | None, typer.Option(help="GB that each may have; what is free here if not given.")
    ] = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """How much memory will a training need? Without data, before it starts."""
    from oclear.commands import estimate as command
    from oclear.commands.train import TrainCommandConfig
    from oclear.config import build_config

    short = as_overrides({"model.embedding_dim": dim})
    settings = build_config(TrainCommandConfig, config, [*short, *(overrides or [])])
    run(
        lambda reporter: command.estimate(classes, samples, ranks, room, settings, reporter),
        json_,
    )
