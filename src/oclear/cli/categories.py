"""``oclear categories evaluate|sweep|explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oclear.cli.options import (
    ConfigFile,
    Exposures,
    Features,
    Items,
    Json,
    Out,
    Overrides,
    Overwrite,
)
from oclear.cli.run import run, typed_line

app = typer.Typer(
    name="categories", help="Look into a folder of 'oclear categorize'.", rich_markup_mode=None
)

CategoriesFolder = Annotated[
    Path, typer.Option("--categories", help="The folder of 'oclear categorize'.")
]
Truth = Annotated[
    Path | None,
    typer.Option("--truth", help="The true products: a table of item_id and product_id."),
]


@app.command()
def evaluate(
    categories: CategoriesFolder,
    truth: Truth = None,
    queries: Annotated[
        Path | None, typer.Option(help="The photos, with their true items where known.")
    ] = None,
    exposures: Annotated[
        Path | None, typer.Option(help="The log: measures for items never shown in it, and others.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="The catalogue, to count its items that are in no ID.")
    ] = None,
    json_: Json = False,
) -> None:
    """How good are the category IDs, where the truth is known?"""
    from oclear.commands.categories import evaluate as command

    run(
        lambda reporter: command.evaluate(categories, items, truth, queries, exposures, reporter),
        json_,
    )


@app.command()
def sweep(
    items: Items,
    queries: Annotated[Path, typer.Option(help="The photos; val is measured on.")],
    out: Out,
    overrides: Overrides = None,
    exposures: Exposures = None,
    truth: Truth = None,
    features: Features = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train quickly at each point, or not.")
    ] = True,
    config: ConfigFile = None,
    json_: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """How coarse should category IDs be? Quality and Identical@1 at many granularities."""
    from oclear.commands.categories import sweep as command
    from oclear.config import build_config

    settings = build_config(command.SweepConfig, config, overrides or [])
    run(
        lambda reporter: command.sweep(
            items,
            queries,
            exposures,
            truth,
            features,
            out,
            settings,
            reporter,
            train=train,
            command=typed_line(),
            overwrite=overwrite,
        ),
        json_,
    )


@app.command()
def explain(
    categories: CategoriesFolder,
    items: Items,
    id_: Annotated[int | None, typer.Option("--id", help="The category ID to look into.")] = None,
    item: Annotated[
        list[str] | None,
        typer.Option(help="An item; given twice: why are the two together, or apart?"),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="The photos, to say where their pictures are.")
    ] = None,
    json_: Json = False,
) -> None:
    """Why are these together, or apart?"""
    from oclear.commands.categories import explain as command

    run(
        lambda reporter: command.explain(categories, items, queries, id_, item or [], reporter),
        json_,
    )
