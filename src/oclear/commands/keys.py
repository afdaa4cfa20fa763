"""``oclear keys``: who may search, send feedback and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from oclear.commands.shared.result import CommandResult
from oclear.progress import Reporter
from oclear.serving.keys import PERMISSIONS, Permission, add_key, read_keys, remove_key


def add(keys: Path, name: str, may: Sequence[Permission], reporter: Reporter) -> CommandResult:
    """Makes a key and shows it once: the key alone on standard output, so that it can be sent into a file.

    Raises:
        InputError: There is a key of this name.
        FormatError: The file holds something else.
    """
    allowed = tuple(may) or PERMISSIONS
    secret = add_key(keys, name, allowed)
    data = {"name": name, "key": secret, "may": list(allowed), "keys": str(keys)}
    reporter.say(f"the key of '{name}', shown only now; it may: {', '.join(allowed)}")
    return CommandResult(data, secret)


def remove(keys: Path, name: str) -> CommandResult:
    """Takes a key away, from running servers too.

    Raises:
        InputError: There is none of this name.
        FormatError: The file holds something else.
    """
    remove_key(keys, name)
    return CommandResult({"name": name, "keys": str(keys)}, f"'{name}' is taken away")


def list_(keys: Path) -> CommandResult:
    """Shows who has a key.

    Raises:
        FormatError: The file holds something else.
    """
    found = read_keys(keys)
    table = Table("name", "may", "made on")
    for key in found:
        table.add_row(key.name, ", ".join(key.may), key.created)
    shown = [key.model_dump(mode="json", exclude={"sha256"}) for key in found]
    return CommandResult({"keys": shown}, table)
