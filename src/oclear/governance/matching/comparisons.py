"""Comparing candidate pairs of items: one number for each thing that two items can agree or differ in."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.looks import normalized
from oclear.tables import Items

_PAIRS_AT_ONCE = 100_000
_QUANTITY = re.compile(
    r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+(?:[.,]\d+)?)\s*([a-zA-Z]{1,3}|\"|%)(?![\w])"
)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")
# A unit that few items state compares few pairs.
_LEAST_STATED = 0.01
COLUMN = "column "
"""Leads the name of what compares a column of the user's, who may call it ``score`` or ``pictures``."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """How the items of each pair compare.

    Args:
        names: What is compared, for example ``pictures``, or ``column price`` for a column of the user's.
        values: (pairs, names) float32; NaN where one of the two items says nothing about it.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]

    @classmethod
    def of(cls, columns: dict[str, NDArray[np.floating]], pairs: int) -> Comparisons:
        """From one array (pairs,) a name."""
        stacked = [np.asarray(column, np.float32) for column in columns.values()]
        values = np.stack(stacked, axis=1) if stacked else np.empty((pairs, 0), np.float32)
        return cls(tuple(columns), values)

    def beside(self, other: Comparisons) -> Comparisons:
        """Both, side by side."""
        return Comparisons(self.names + other.names, np.hstack([self.values, other.values]))


def cosines(
    vectors: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(pairs,) cosine of two rows, NaN where one of them is zero."""
    unit = normalized(vectors)
    known = np.asarray(unit.any(axis=1))
    out = np.empty(len(a), np.float32)
    for some in _slices(len(a)):
        out[some] = np.einsum("nd,nd->n", unit[a[some]], unit[b[some]])
    out[~(known[a] & known[b])] = np.nan
    return out


def distances(
    vectors: NDArray[np.float32], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(pairs,) logarithm of 1 + the squared distance of two rows, NaN where one of them is zero."""
    out = np.empty(len(a), np.float32)
    for some in _slices(len(a)):
        difference = vectors[a[some]] - vectors[b[some]]
        out[some] = np.log1p(np.einsum("nd,nd->n", difference, difference))
    known = np.asarray(vectors.any(axis=1))
    out[~(known[a] & known[b])] = np.nan
    return out


def shared_words(
    words: csr_matrix, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(pairs,) cosine of two texts by their weighted words, NaN where one has no word."""
    out = np.empty(len(a), np.float32)
    for some in _slices(len(a)):
        out[some] = np.asarray(words[a[some]].multiply(words[b[some]]).sum(axis=1)).ravel()
    has_words = np.diff(words.indptr) > 0
    out[~(has_words[a] & has_words[b])] = np.nan
    return out


def compare_columns(
    items: Items, names: tuple[str, ...], a: NDArray[np.int64], b: NDArray[np.int64]
) -> Comparisons:
    """Attributes: 1 or 0 for equal or different words, the logarithm of the ratio of numbers.

    Args:
        items: The catalogue.
        names: Columns of text, truth values or numbers; others are left out. Infinite numbers say nothing.
        a: (pairs,) item rows.
        b: (pairs,) item rows.
    """
    columns: dict[str, NDArray[np.floating]] = {}
    for name in names:
        values = items.table[name]
        if is_number(values.type):
            number = values.cast(pa.float64()).to_numpy()
            number = np.where(np.isfinite(number), number, np.nan)
            if np.nanmin(number, initial=1.0) > 0:
                number = np.log(number)
            columns[COLUMN + name] = np.abs(number[a] - number[b])
        elif pa.types.is_string(values.type) or pa.types.is_boolean(values.type):
            text = pc.utf8_lower(pc.utf8_trim_whitespace(values.cast(pa.string())))
            codes = pc.fill_null(text.combine_chunks().dictionary_encode().indices, -1).to_numpy()
            known = (codes[a] >= 0) & (codes[b] >= 0)
            columns[COLUMN + name] = np.where(known, codes[a] == codes[b], np.nan)
    return Comparisons.of(columns, len(a))


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are compared by how far they lie apart."""
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(is_kind(kind) for is_kind in kinds)


def compare_quantities(
    texts: list[str], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(pairs,) whether the quantities that both texts state ("34 cm", "500 ml") agree: 1, 0, NaN where none is shared.

    Example:
        >>> texts = ["Vase, 34 cm", "vase 34cm tall", "Vase, 52 cm", "a vase"]
        >>> compare_quantities(texts, np.array([0, 0, 0]), np.array([1, 2, 3]))
        array([ 1.,  0., nan], dtype=float32)
    """
    stated: dict[str, list[tuple[int, float]]] = {}
    for row, text in enumerate(texts):
        for number, unit in _QUANTITY.findall(text):
            if _THOUSANDS.fullmatch(number):
                number = number.replace(",", "")
            stated.setdefault(unit.lower(), []).append((row, float(number.replace(",", "."))))
    agree = np.full(len(a), np.nan, np.float32)
    for quantities in stated.values():
        if len(quantities) < max(2, _LEAST_STATED * len(texts)):
            continue
        column = np.full(len(texts), np.nan)
        for row, number in reversed(quantities):  # the first one a text states counts
            column[row] = number
        both = ~np.isnan(column[a]) & ~np.isnan(column[b])
        same = np.isclose(column[a], column[b], rtol=5e-3, atol=0)
        # One quantity that differs is enough to differ.
        agree = np.where(both, np.fmin(agree, same), agree).astype(np.float32)
    return agree


def _slices(count: int) -> list[slice]:
    """Slices over so many pairs: their vectors side by side would not fit in memory."""
    return [slice(i, i + _PAIRS_AT_ONCE) for i in range(0, count, _PAIRS_AT_ONCE)]
