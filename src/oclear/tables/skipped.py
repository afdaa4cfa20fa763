"""The pictures that a run had to leave out: counted, listed, and too many of them stop it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from oclear.errors import InputError
from oclear.tables.schema import Side
from oclear.tables.write import write_table

NO_PICTURE = "no picture given"
"""The reason where a table names none."""
_SCHEMA = pa.schema(
    [
        ("side", pa.string()),
        ("key", pa.string()),
        ("part", pa.int32()),
        ("path", pa.string()),
        ("reason", pa.string()),
    ]
)


class SkippedImages:
    """Collects pictures that could not be used.

    Example:
        >>> skipped = SkippedImages()
        >>> skipped.add("query", "q7", 0, "photos/q7.jpg", "missing file")
        >>> skipped.check(total=1000, max_share=0.01)
        >>> len(skipped)
        1
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Side, str, int, str, str]] = []
        self._known: set[tuple[Side, str, int]] = set()
        self._without = 0  # items for which no picture is given

    @classmethod
    def read(cls, path: Path) -> SkippedImages:
        """What :meth:`write` wrote."""
        skipped = cls()
        # Without partitioning, or a folder name like "wrong=0.2" becomes a column.
        for row in pq.read_table(path, partitioning=None).to_pylist():
            skipped.add(row["side"], row["key"], row["part"], row["path"], row["reason"])
        return skipped

    def __len__(self) -> int:
        """The number of pictures left out."""
        return len(self._rows)

    def add(self, side: Side, key: str, part: int, path: str, reason: str) -> None:
        """Notes one picture: whose it is, its number there, where it lies, why it cannot be used.

        One that is noted already is left as it was: several stages of a run read the same pictures.
        """
        name = (side, key, int(part))
        if name not in self._known:
            self._known.add(name)
            self._rows.append((*name, path, reason))
            self._without += _is_without(self._rows[-1])

    def reasons(self) -> dict[str, int]:
        """How many were left out for which reason, the most frequent first."""
        return dict(Counter(row[4] for row in self._rows).most_common())

    def check(self, total: int, max_share: float) -> None:
        """Stops the run when too many are bad; a single one never does, however few there are.

        Items for which no picture is given are not bad: a catalogue has them, and their texts may say enough.

        Args:
            total: All pictures, good and bad, and an entry for each item that has none.
            max_share: The share that may be bad, in [0, 1].

        Raises:
            InputError: More than that.
        """
        total -= self._without
        if len(self) - self._without <= max(1, max_share * total):
            return
        bad = [row for row in self._rows if not _is_without(row)]
        counts = ", ".join(f"{n} {why}" for why, n in Counter(r[4] for r in bad).most_common(3))
        raise InputError(
            f"{len(bad)} of {total} pictures cannot be used, more than the allowed share of "
            f"{max_share:g}: {counts}; the first is {bad[0][3]}",
            "Repair or remove them, or allow a larger share: max_bad_images in the configuration.",
        )

    def table(self) -> pa.Table:
        """``side``, ``key``, ``part``, ``path``, ``reason``: one row each, in the order noted."""
        names = _SCHEMA.names
        columns = list(zip(*self._rows, strict=True)) or [()] * len(names)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=_SCHEMA)

    def write(self, path: Path) -> None:
        """Writes the list, which may be empty, as ``skipped.parquet``."""
        write_table(self.table(), path)


def _is_without(row: tuple[Side, str, int, str, str]) -> bool:
    return row[0] == "document" and row[4] == NO_PICTURE
