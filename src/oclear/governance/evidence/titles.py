"""Items with the same title and brand, or nearly the same title."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.evidence.buckets import band_buckets, pairs_in_buckets
from oclear.governance.evidence.edges import Edges, chain_edges, make_edges
from oclear.governance.evidence.keys import codes_of
from oclear.tables import Items

_UNITS = "mm|cm|dm|m|km|mg|g|kg|lbs?|oz|ml|cl|dl|l|inch|ft|mah|ah|wh|kwh|v|w|kw|hz|khz|mhz|ghz|kb|mb|gb|tb"
# A number and its unit are one word, so that "34cm" is "34 cm" and neither is "34 mm".
_WORD = re.compile(rf"\d+(?:[.,]\d+)*(?:\s*(?:{_UNITS})(?![^\W\d_]))?|[^\W\d_]+")
_BANDS, _BAND_SIZE = 24, 5
_COPIES = 6
_WINDOW = 16
_PAIRS_AT_ONCE = 500_000


def title_words(text: str) -> frozenset[str]:
    """The words of a title, whatever their order, case, form of Unicode (NFKC), spaces and punctuation.

    Example:
        >>> sorted(title_words("Ilmari VASE, 34 cm - No.7 (3,5 l)"))
        ['3.5l', '34cm', '7', 'ilmari', 'no', 'vase']
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return frozenset("".join(word.split()).replace(",", ".") for word in _WORD.findall(text))


@dataclass(frozen=True, eq=False)
class _Titles:
    """Listings that differ in words, brand, seller or a forbidding column; each stands for its items.

    Args:
        first: (n,) the first item of each.
        code: (n,) a number for its words and brand: ties of one title need no second reason.
        brand: (n,) its brand as a number, -1 for none.
        seller: (n,) its seller as a number, -1 for none.
        words: (n, vocabulary) 1 where a word occurs, those of the brand included.
        vocabulary: The words, sorted.
        weight: (vocabulary,) what each weighs.
    """

    first: NDArray[np.int64]
    code: NDArray[np.int64]
    brand: NDArray[np.int64]
    seller: NDArray[np.int64]
    words: csr_matrix
    vocabulary: list[str]
    weight: NDArray[np.float64]


def title_edges(
    items: Items,
    text_columns: Sequence[str] = ("title",),
    brand_column: str | None = None,
    seller_column: str | None = None,
    *,
    least_similarity: float = 0.9,
    most: int = 20,
    forbidden: Sequence[NDArray[np.int64]] = (),
) -> list[Edges]:
    """Ties items with the same title and brand, and items with nearly the same title.

    Titles are compared as sets of words (:func:`title_words`) together with the words of the brand, so that it makes no
    difference where the brand is written. Near ones are found by MinHash with banding (Broder, 1997; Leskovec et al.,
    Mining of Massive Datasets, ch. 3) and verified by the exact weighted Jaccard of their words. A word weighs
    log(1 + titles / titles with it): what decorates many titles decides little. Two titles are not near when each has
    a number (with its unit) or a single letter that the other lacks, or when their brands differ.

    A seller who gives one title to two items sells variants that the title does not tell apart. With a seller column
    such titles say nothing, and items of one seller are never tied. Without it, expect variants to be tied.

    Args:
        items: The catalogue.
        text_columns: Read as the title.
        brand_column: Read as the brand; None for none.
        seller_column: Who sells the item; None where each item has its own seller, or nobody knows.
        least_similarity: Weighted Jaccard from which titles are nearly the same, in (0, 1].
        most: A title that more items than this have, whatever their brand, says nothing.
        forbidden: See :func:`~oclear.governance.evidence.chain_edges`.

    Returns:
        One for each reason: the same title and brand (weight 1), the same title where neither has a brand (weight 1),
        nearly the same title (weight is the similarity).

    Raises:
        TableError: A column that the table does not have, or one of lists, structures or bytes.
    """
    titles = [title_words(text) for text in items.texts(text_columns)]
    brands = [frozenset[str]()] * len(titles)
    if brand_column is not None:
        brands = [title_words(text) for text in items.texts((brand_column,))]
    seller = np.full(len(titles), -1)
    if seller_column is not None:
        items.texts((seller_column,))  # refuses a column that is not there, with its hint
        seller = codes_of(items, seller_column)
    alone, brand = _numbers(titles), _numbers(brands)
    telling = (alone >= 0) & ~(np.bincount(alone[alone >= 0], minlength=1)[alone] > most)
    whole = [a | b for a, b in zip(titles, brands, strict=True)]
    same = np.stack([_numbers(whole), brand])
    codes = np.unique(same, axis=1, return_inverse=True)[1].reshape(-1)
    telling &= ~_repeated_by_a_seller(codes, seller)
    codes = np.where(telling, codes, -1).astype(np.int64)
    distinct = _distinct(whole, brand, seller, codes, forbidden)
    return [
        chain_edges("title", np.where(brand >= 0, codes, -1), "same title and brand", forbidden),
        chain_edges("title", np.where(brand < 0, codes, -1), "same title", forbidden),
        _near(distinct, least_similarity),
    ]


def _numbers(sets: Sequence[frozenset[str]]) -> NDArray[np.int64]:
    """A number for each set, in the order of their words whatever the order of rows; -1 for an empty one."""
    keys = [" ".join(sorted(words)) for words in sets]
    rank = {key: n for n, key in enumerate(sorted(set(keys) - {""}))}
    return np.array([rank.get(key, -1) for key in keys], np.int64)


def _repeated_by_a_seller(codes: NDArray[np.int64], seller: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(items,) whether some seller has the title of an item twice."""
    known = seller >= 0
    pairs, times = np.unique(np.stack([codes[known], seller[known]]), axis=1, return_counts=True)
    return np.isin(codes, pairs[0, times > 1])


def _distinct(
    whole: Sequence[frozenset[str]],
    brand: NDArray[np.int64],
    seller: NDArray[np.int64],
    codes: NDArray[np.int64],
    forbidden: Sequence[NDArray[np.int64]],
) -> _Titles:
    """One row for each listing that differs, with its words."""
    rows = np.flatnonzero(codes >= 0)
    key = np.stack([codes[rows], seller[rows], *(column[rows] for column in forbidden)])
    first = rows[np.unique(key, axis=1, return_index=True)[1]]
    bags = [sorted(whole[row]) for row in first]
    vocabulary = sorted(set().union(*bags))
    place = {word: n for n, word in enumerate(vocabulary)}
    flat = np.array([place[word] for bag in bags for word in bag], np.int64)
    starts = np.cumsum([0, *(len(bag) for bag in bags)])
    words = csr_matrix((np.ones(len(flat)), flat, starts), shape=(len(bags), len(vocabulary)))
    weight = np.log1p(len(bags) / np.maximum(np.bincount(flat, minlength=len(vocabulary)), 1))
    return _Titles(first, codes[first], brand[first], seller[first], words, vocabulary, weight)


def _near(titles: _Titles, least: float) -> Edges:
    empty = np.empty(0, np.int64)
    found = [(empty, empty, np.empty(0))]
    for a, b in _candidates(titles):
        for start in range(0, len(a), _PAIRS_AT_ONCE):
            some = slice(start, start + _PAIRS_AT_ONCE)
            found.append(_verified(titles, a[some], b[some], least))
    a, b, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    weight = np.clip(similarity, 0.01, 1).astype(np.float32)
    return make_edges("title", titles.first[a], titles.first[b], weight, "nearly the same title")


def _candidates(titles: _Titles) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs that share a band of their signatures; of very many that share one, each with the next few."""
    signatures = _signatures(titles)
    for start in range(0, signatures.shape[1], _BAND_SIZE):
        yield pairs_in_buckets(band_buckets(signatures, start, _BAND_SIZE), _WINDOW)


def _signatures(titles: _Titles) -> NDArray[np.uint32]:
    """(n, hashes) MinHash of the words, each in more copies the more it weighs: then it tells the weighted Jaccard."""
    share = titles.weight / np.log1p(max(len(titles.first), 1))
    copies = np.maximum(np.rint(_COPIES * share), 1).astype(int).tolist()
    tokens = [
        [f"{word} {n}".encode() for n in range(count)]
        for word, count in zip(titles.vocabulary, copies, strict=True)
    ]
    starts, words = titles.words.indptr, titles.words.indices
    bags = (
        [token for word in words[starts[n] : starts[n + 1]].tolist() for token in tokens[word]]
        for n in range(len(titles.first))
    )
    signatures = np.empty((len(titles.first), _BANDS * _BAND_SIZE), np.uint32)
    for n, minhash in enumerate(MinHash.generator(bags, num_perm=_BANDS * _BAND_SIZE, seed=1)):
        signatures[n] = minhash.hashvalues
    return signatures


def _verified(
    titles: _Titles, a: NDArray[np.int64], b: NDArray[np.int64], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Those of the pairs that are near, with their weighted Jaccard."""
    common = titles.words[a].multiply(titles.words[b]).tocsr()
    total, shared = titles.words @ titles.weight, common @ titles.weight
    similarity = shared / (total[a] + total[b] - shared)
    names_variant = [len(word) == 1 or word[0].isdigit() for word in titles.vocabulary]
    names = np.array(names_variant, np.float64)
    named, named_by_both = titles.words @ names, common @ names
    # Rounding must not decide over titles that are exactly as near as asked for.
    keep = similarity >= least - 1e-9
    keep &= titles.code[a] != titles.code[b]
    keep &= (named_by_both == named[a]) | (named_by_both == named[b])
    keep &= (titles.brand[a] == titles.brand[b]) | (
        np.minimum(titles.brand[a], titles.brand[b]) < 0
    )
    keep &= (titles.seller[a] != titles.seller[b]) | (titles.seller[a] < 0)
    return a[keep], b[keep], similarity[keep]
