"""``oclear log compact|erase``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oclear.cli.options import Json
from oclear.cli.run import run

app = typer.Typer(name="log", help="Look after the log of 'oclear serve'.", rich_markup_mode=None)

LogFolder = Annotated[Path, typer.Option("--log", help="The log folder of 'oclear serve'.")]


@app.command()
def compact(log: LogFolder, json_: Json = False) -> None:
    """What servers logged -> the tables that 'oclear categorize' reads."""
    from oclear.commands import log as command

    run(lambda reporter: command.compact(log), json_)


@app.command()
def erase(
    log: LogFolder,
    session: Annotated[str, typer.Option(help="The session_id to erase.")],
    json_: Json = False,
) -> None:
    """Forget a session: its searches, clicks and photos."""
    from oclear.commands import log as command

    run(lambda reporter: command.erase(log, session), json_)
