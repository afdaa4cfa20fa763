"""Runs a parsed command and prints what it gives back."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from oclear.runtime import is_speaking

if TYPE_CHECKING:
    from oclear.commands.shared.result import CommandResult
    from oclear.progress import Reporter


def run(call: Callable[[Reporter], CommandResult], as_json: bool) -> None:
    """Runs a command and prints its result: for people on standard output, or as the last line of it as JSON."""
    from oclear.commands.shared.result import to_json
    from oclear.progress import Reporter

    with Reporter(quiet=not is_speaking()) as reporter:
        result = call(reporter)
        if as_json:
            reporter.show(result.view)
    if not is_speaking():
        return
    if as_json:
        print(json.dumps(to_json(result.data), allow_nan=False))
    else:
        Console(soft_wrap=True).print(result.view)


def typed_line() -> str:
    """The command as the user typed it, for reports to show."""
    return shlex.join(["oclear", *sys.argv[1:]])
