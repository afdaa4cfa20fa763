"""The errors that a user meets. Each says what is wrong, where, and what to do.

The command line prints an :class:`OclearError` as one to three lines and ends with exit code 2. Any other
exception is a defect of ours and ends with exit code 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class OclearError(Exception):
    """Something in the user's hands is wrong: input, configuration, an output folder, a missing extra.

    Args:
        message: What is wrong, one line.
        hint: What to do about it, one line.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}\n{hint}" if hint else message)


class InputError(OclearError):
    """Input that cannot be used as it is: a folder, a photo, a combination of options."""


class TableError(InputError):
    """A table that breaks a rule of its form. Raised before any work starts.

    Args:
        path: The file.
        expected: What the rule asks for.
        found: The offending value or circumstance.
        column: The column, where one is to blame.
        row: The row, counted from 0.
        hint: What to do about it.

    Example:
        >>> print(TableError(Path("items.csv"), column="item_id", row=3, found="'a'", expected="unique ids"))
        items.csv, column 'item_id', row 3: found 'a', expected unique ids
    """

    def __init__(
        self,
        path: Path,
        *,
        expected: str,
        found: str,
        column: str | None = None,
        row: int | None = None,
        hint: str | None = None,
    ) -> None:
        self.path, self.column, self.row = path, column, row
        place = str(path)
        if column is not None:
            place += f", column '{column}'"
        if row is not None:
            place += f", row {row}"
        super().__init__(f"{place}: found {found}, expected {expected}", hint)


class BadImageError(InputError):
    """One picture that cannot be decoded. Runs skip it, count it and list it.

    Args:
        reason: A few words, the same for the same kind of fault, so that reasons can be counted.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class ConfigError(OclearError):
    """A configuration key or value that is unknown or out of range."""


class OutputNotEmptyError(OclearError):
    """The output folder holds something already, and neither ``--overwrite`` nor ``--resume`` was given."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: the output folder is not empty",
            "Give --overwrite to replace it, or another folder; 'train' and 'demo' go on with --resume.",
        )


class FormatError(OclearError):
    """A folder written by another format version, or not of the kind that was asked for."""


class ModelMismatchError(OclearError):
    """Vectors of one model were about to be compared with vectors of another."""


class StoreBusyError(OclearError):
    """Another writer holds an index for longer than one cares to wait."""

    def __init__(self, place: object, seconds: float) -> None:
        super().__init__(
            f"{place}: another process has been writing to this index for {seconds:g} seconds",
            "Wait until it has finished, then run this again.",
        )


class StoreFullError(OclearError):
    """No room is left for an index on its device. What was acknowledged before is there."""

    def __init__(self, place: object) -> None:
        super().__init__(
            f"{place}: no space left on the device; this change was not made",
            "Free some space ('oclear store optimize' drops old versions), then run this again.",
        )


class StoreReadOnlyError(OclearError):
    """An index that may be read and not written to."""

    def __init__(self, place: object, reason: str) -> None:
        super().__init__(
            f"{place}: this index cannot be written to ({reason}); this change was not made",
            "Give its folder, with all that is in it, to the user that writes.",
        )


class StoreReplacedError(OclearError):
    """The index was made anew while it was open here."""

    def __init__(self, place: object) -> None:
        super().__init__(
            f"{place}: this index was made anew meanwhile; this change was not made",
            "Open it again, then make the change again.",
        )


class StoreUnreachableError(OclearError):
    """The server that holds an index does not answer, or cannot carry out what it was asked for."""

    def __init__(self, server: str, reason: str) -> None:
        super().__init__(
            f"{server}: the Milvus server does not answer as it should: {reason:.120}",
            "See whether it runs, then run this again.",
        )


class StoppedByOtherRankError(OclearError):
    """Another process of the same run failed first and says why; this one ends without a word."""

    def __init__(self, message: str = "another process of this run failed") -> None:
        super().__init__(message)


class MissingExtraError(OclearError):
    """A package of an optional stage, or one that no stage brings (``extra`` None), is not installed."""

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        wanted = package if extra is None else f"'oclear[{extra}]'"
        super().__init__(
            f"the package '{package}' is needed {purpose} and is not installed",
            f"Install it with: pip install {wanted}",
        )


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the nearest known one, or all of them.

    Example:
        >>> nearest_name("itemid", ["item_id", "title"])
        "Did you mean 'item_id'?"
        >>> nearest_name("zzz", ["item_id", "title"])
        'Known: item_id, title.'
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known: {', '.join(names)}."
