"""``oclear keys add|remove|list``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from oclear.cli.options import Json
from oclear.cli.run import run

app = typer.Typer(
    name="keys", help="Say who may ask 'oclear serve' for what.", rich_markup_mode=None
)


class Permission(StrEnum):
    """What a key allows."""

    search = "search"
    feedback = "feedback"
    write = "write"


KeyFile = Annotated[Path, typer.Option("--keys", help="The file of keys.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets it.")],
    keys: KeyFile,
    may: Annotated[
        list[Permission] | None, typer.Option(help="What it allows; everything if not given.")
    ] = None,
    json_: Json = False,
) -> None:
    """Make a key and show it, this once."""
    from oclear.commands import keys as command

    run(lambda reporter: command.add(keys, name, [p.value for p in may or []], reporter), json_)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who had it.")],
    keys: KeyFile,
    json_: Json = False,
) -> None:
    """Take a key away; running servers know within a second or so."""
    from oclear.commands import keys as command

    run(lambda reporter: command.remove(keys, name), json_)


@app.command("list")
def list_(keys: KeyFile, json_: Json = False) -> None:
    """Who has a key, and for what?"""
    from oclear.commands import keys as command

    run(lambda reporter: command.list_(keys), json_)
