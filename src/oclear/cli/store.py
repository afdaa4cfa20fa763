"""``oclear store add|delete|stats|optimize|verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oclear.cli.options import ConfigFile, IndexFolder, Items, Json, Overrides, Vectors
from oclear.cli.run import run

app = typer.Typer(
    name="store", help="Look into, change and check an index folder.", rich_markup_mode=None
)


@app.command()
def add(
    index: IndexFolder,
    items: Items,
    overrides: Overrides = None,
    vectors: Vectors = None,
    config: ConfigFile = None,
    json_: Json = False,
) -> None:
    """Adds or updates these items and leaves all others; only what changed is encoded."""
    from oclear.commands.shared.indexing import IndexConfig
    from oclear.commands.store import add as command
    from oclear.config import build_config

    settings = build_config(IndexConfig, config, overrides or [])
    run(lambda reporter: command.add(index, items, vectors, settings, reporter), json_)


@app.command()
def delete(
    index: IndexFolder,
    item_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM]...", help="Items to remove.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option("--items", help="A table whose item_id are to be removed.")
    ] = None,
    model_id: Annotated[
        str | None, typer.Option(help="Remove the vectors of a model that is not active, instead.")
    ] = None,
    json_: Json = False,
) -> None:
    """Removes items, or all vectors of a former model."""
    from oclear.commands.store import delete as command

    run(
        lambda reporter: command.delete(index, item_ids or [], items, model_id, reporter),
        json_,
    )


@app.command()
def stats(index: IndexFolder, json_: Json = False) -> None:
    """Items, vectors, models, versions and disk of an index."""
    from oclear.commands.store import stats as command

    run(lambda reporter: command.stats(index, reporter), json_)


@app.command()
def optimize(index: IndexFolder, json_: Json = False) -> None:
    """Joins small files, drops old versions, and brings an older format to the present one."""
    from oclear.commands.store import optimize as command

    run(lambda reporter: command.optimize(index, reporter), json_)


@app.command()
def verify(index: IndexFolder, json_: Json = False) -> None:
    """Reads everything and says what is wrong; exit code 2 where something is."""
    from oclear.commands.store import verify as command

    run(lambda reporter: command.verify(index, reporter), json_)
