"""A judged pair of items in plain words: what each comparison found, and what it added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oclear.governance.evidence.titles import title_words
from oclear.governance.matching.comparisons import COLUMN, is_number
from oclear.governance.report.folder import CategoryFolder

_NAMES = {
    "shared words": "words in common",
    "quantities": "stated quantities",
    "pictures": "likeness of the pictures",
    "meaning of texts": "likeness of the texts' meaning",
    "photos in common": "photos that led to clicks on both",
    "photos alike": "likeness of the photos that led to clicks",
    "words: likeness": "likeness of the words, as learned",
    "words: distance": "distance of the words, as learned",
    "pictures: likeness": "likeness of the pictures, as learned",
    "pictures: distance": "distance of the pictures, as learned",
}
_FAMILIES = {
    "words": (
        *("shared words", "quantities", "meaning of texts"),
        *("words: likeness", "words: distance", "tied by title"),
    ),
    "pictures": (
        *("pictures", "pictures: likeness", "pictures: distance"),
        *("tied by image_hash", "tied by looks"),
    ),
    "clicks": ("photos in common", "photos alike", "tied by behaviour"),
}
_TIED = {
    "identity": "tied by keys",
    "image_hash": "nearly the same picture",
    "title": "nearly the same title",
    "looks": "tied by looks",
    "behaviour": "tied by clicks",
}


@dataclass(frozen=True)
class Words:
    """The words of two texts, each list in alphabetical order."""

    common: list[str]
    left: list[str]
    right: list[str]


@dataclass(frozen=True)
class Compared:
    """One comparison of a pair.

    Args:
        name: As the matcher calls it.
        family: ``words``, ``pictures``, ``clicks``, or the comparison's name where it is of a column.
        told: Its name in plain words.
        left: The value of the first item, where single values are compared.
        right: That of the second.
        value: What was found, None where one of the two says nothing.
        says: The same in plain words.
        contribution: What it adds to the log-odds.
    """

    name: str
    family: str
    told: str
    left: str | None
    right: str | None
    value: float | None
    says: str
    contribution: float


@dataclass(frozen=True)
class Judged:
    """A judged pair: ``start`` and the contributions add up to ``score``, above 0 for one product.

    Args:
        a: Item row.
        b: Item row.
        score: Log-odds past the margin.
        start: Log-odds before any comparison, less the margin.
        compared: The strongest contribution first.
        words: Of their texts.
    """

    a: int
    b: int
    score: float
    start: float
    compared: list[Compared]
    words: Words

    def families(self) -> list[tuple[str, float, list[Compared]]]:
        """The comparisons by family with what each family adds, the strongest first."""
        names = dict.fromkeys(each.family for each in self.compared)
        parts = [(name, [c for c in self.compared if c.family == name]) for name in names]
        summed = [(name, sum(c.contribution for c in part), part) for name, part in parts]
        return sorted(summed, key=lambda part: -abs(part[1]))


def family_of(name: str) -> str:
    """The family of a comparison.

    Example:
        >>> family_of("words: distance"), family_of("column price")
        ('words', 'column price')
    """
    return next((family for family, names in _FAMILIES.items() if name in names), name)


def plain(name: str) -> str:
    """The column that a comparison or its family is of; other names stay.

    Example:
        >>> plain("column price"), plain("words")
        ('price', 'words')
    """
    return name.removeprefix(COLUMN)


def told(name: str) -> str:
    """A comparison's name in plain words.

    Example:
        >>> told("tied by looks"), told("column price")
        ('tied by looks', 'price')
    """
    if name.startswith(COLUMN):
        return plain(name)
    kind = name.removeprefix("tied by ")
    return _TIED.get(kind, kind) if kind != name else _NAMES.get(name, name)


def judge(folder: CategoryFolder, pair: int, first: int | None = None) -> Judged:
    """Tells a judged pair.

    Args:
        folder: With judged pairs.
        pair: Which of them.
        first: The item row to put first; the pair's own order where None.
    """
    judged, matcher = folder.judged, folder.matcher
    assert judged is not None and matcher is not None
    a, b = int(judged.a[pair]), int(judged.b[pair])
    if first == b:
        a, b = b, a
    values = judged.comparisons.values[pair]
    added = contributions(folder, np.array([pair]))[0]
    compared = [
        _compared(folder, name, None if np.isnan(value) else float(value), float(plus), a, b)
        for name, value, plus in zip(matcher.names, values, added, strict=True)
    ]
    score = float(judged.score[pair])
    return Judged(
        a,
        b,
        score,
        score - float(added.sum()),
        sorted(compared, key=lambda each: -abs(each.contribution)),
        words_of(folder, a, b),
    )


def contributions(folder: CategoryFolder, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """(pairs, comparisons) what each comparison adds to the log-odds of some judged pairs."""
    judged, matcher = folder.judged, folder.matcher
    assert judged is not None and matcher is not None
    some = type(judged.comparisons)(matcher.names, judged.comparisons.values[pairs])
    return matcher.contributions(some)


def words_of(folder: CategoryFolder, a: int, b: int) -> Words:
    """The words that both items' texts have, and those that one has."""
    names = folder.items.table.column_names
    columns = [name for name in folder.settings.text_columns if name in names]
    rows = np.array([a, b])
    left, right = (title_words(text) for text in folder.items.select(rows).texts(columns))
    return Words(sorted(left & right), sorted(left - right), sorted(right - left))


def value_of(folder: CategoryFolder, column: str, row: int) -> str | None:
    """An item's value of a column as text; None where it has none."""
    value = folder.items.table[column][row].as_py()
    if value is None or value != value:
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _compared(
    folder: CategoryFolder, name: str, value: float | None, plus: float, a: int, b: int
) -> Compared:
    left = right = None
    table, column = folder.items.table, plain(name)
    is_column = name.startswith(COLUMN) and column in table.column_names
    if is_column:
        left, right = value_of(folder, column, a), value_of(folder, column, b)
    elif name == "quantities":
        words = words_of(folder, a, b)
        numbers = [
            [w for w in (*words.common, *only) if w[0].isdigit()]
            for only in (words.left, words.right)
        ]
        left, right = (", ".join(some) or None for some in numbers)
    of_numbers = is_column and is_number(table[column].type)
    says = _says(name, value, of_numbers=of_numbers, is_column=is_column)
    return Compared(name, family_of(name), told(name), left, right, value, says, plus)


def _says(name: str, value: float | None, *, of_numbers: bool, is_column: bool) -> str:
    if value is None:
        return "not known of both"
    if name == "quantities" or (is_column and not of_numbers):
        return "the same" if value >= 0.5 else "different"
    if of_numbers:
        return f"difference {value:.2f}"
    if name == "photos in common":
        return f"{round(float(np.expm1(value)))} photos"
    if name.startswith("tied by "):
        return f"weight {value:.2f}" if value > 0 else "not tied"
    return f"{value:.2f}"
