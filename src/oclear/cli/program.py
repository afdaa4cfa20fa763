"""The program ``oclear``: all its commands, and how it begins and ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from oclear import __version__
from oclear.cli import categories, comparison, keys, learning, log, searching, store
from oclear.cli.errors import STOPPED, report_error
from oclear.errors import StoppedByOtherRankError
from oclear.runtime import is_speaking, prepare_process

app = typer.Typer(
    name="oclear",
    help="Finds the catalogue item a photo shows.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# In the order of 'oclear --help'.
_COMMANDS: tuple[Callable[..., None], ...] = (
    learning.demo,
    learning.simulate,
    learning.embed,
    learning.categorize,
    learning.train,
    learning.estimate,
    searching.index,
    searching.search,
    searching.explain,
    searching.evaluate,
    searching.calibrate,
    comparison.compare,
    comparison.ablate,
    searching.serve,
    searching.export,
)
for _command in _COMMANDS:
    app.command()(_command)
for _group in (categories.app, log.app, keys.app, store.app):
    app.add_typer(_group)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Exit code 0: done; 2: the user's input is wrong (at most three lines); 1: a defect of ours."""
    prepare_process()
    code = parse_and_run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: with torch loaded too, duckdb's binding fills the screen with leaks that it finds at teardown.
    os._exit(code)


def parse_and_run() -> int:
    """Runs the command of ``sys.argv`` and gives the exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(sys.argv[1:] or ["--help"], standalone_mode=False)
        if code == STOPPED:  # the parser catches Ctrl-C itself
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except StoppedByOtherRankError:
        return 2
    except (Exception, KeyboardInterrupt) as error:
        # Of several processes that fail alike, one says so.
        return report_error(error) if is_speaking() else 2
