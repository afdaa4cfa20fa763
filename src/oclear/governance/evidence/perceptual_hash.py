"""Items that show nearly the same picture: one file, encoded anew, resized or slightly cropped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn
from scipy.ndimage import uniform_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from oclear.errors import BadImageError
from oclear.governance.evidence.buckets import band_buckets, pairs_in_buckets
from oclear.governance.evidence.edges import Edges, make_edges
from oclear.tables import Pictures

_SIDE = 48
_AT_ONCE = 256
_PAIRS_AT_ONCE = 1024
_WINDOW = 16
_HASH_SIDE = 16
_FLAT = 3.0  # a picture with less contrast than this (levels of 255, standard deviation) has a hash of noise
_REASON = "nearly the same picture"
_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def perceptual_hash_edges(
    pictures: Pictures,
    most: int,
    *,
    most_bits: int = 48,
    most_difference: float = 20.0,
) -> Edges:
    """Ties items that show the same picture as another file: encoded anew, resized, or cropped by a few percent.

    Candidates agree in one band of 16 bits of a grey pHash (DCT of the brightness; Zauner, 2010) and differ in few
    others. A grey hash does not see what tells twins apart, a colour or a small print, so each candidate is verified:
    both pictures are shrunk to 48 x 48, laid over each other (shift and scale; Lucas and Kanade, 1981), and compared
    cell by cell in colour. Pictures of hardly any contrast, and those that do not decode, tie nothing.

    The hash is our own, of a whole batch at once in a few lines of numpy: the package ``imagehash`` hashes picture by
    picture, has no hash that sees the colour of a place, and brings PyWavelets with it.

    Args:
        pictures: Of the items.
        most: A picture that more items than this show is a placeholder, and says nothing.
        most_bits: Bits of the hash that may differ, of 256.
        most_difference: Levels (of 255) by which the colours of a place may differ, as the mean of 3 x 3 cells.
    """
    rows, hashes = _hashes(pictures)
    a, b = _candidates(hashes, most_bits)
    a, b = rows[a], rows[b]
    # What an item shows twice ties it to nothing.
    other = pictures.rows[a] != pictures.rows[b]
    a, b = a[other], b[other]
    difference = _differences(pictures, a, b)
    near = difference <= most_difference
    a, b, difference = a[near], b[near], difference[near]
    shown = _items_showing(pictures, a, b)[a] <= most
    weight = np.clip(1 - difference[shown] / 255, 0.01, 1).astype(np.float32)
    return make_edges(
        "image_hash", pictures.rows[a[shown]], pictures.rows[b[shown]], weight, _REASON
    )


def _thumbnails(pictures: Pictures, rows: NDArray[np.int64]) -> list[NDArray[np.uint8] | None]:
    """Each picture as (48, 48, 3), None where it does not decode; decoding releases the interpreter's lock."""

    def small(row: int) -> NDArray[np.uint8] | None:
        try:
            image = pictures.load(row, target_size=_SIDE)
        except BadImageError:
            return None
        return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(small, rows.tolist()))


def _hashes(pictures: Pictures) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The pictures that have a hash, and (n, 32) its bits, packed."""
    kept, hashes = [np.empty(0, np.int64)], [np.empty((0, _HASH_SIDE**2 // 8), np.uint8)]
    for start in range(0, len(pictures), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(pictures)))
        found = _thumbnails(pictures, rows)
        grey = _grey(np.stack([t if t is not None else _BLANK for t in found]))
        ok = grey.std(axis=(1, 2)) >= _FLAT
        waves = dctn(grey[ok], axes=(1, 2))[:, :_HASH_SIDE, :_HASH_SIDE].reshape(-1, _HASH_SIDE**2)
        waves[:, 0] = 0  # the mean brightness
        bits = waves > np.median(waves, axis=1, keepdims=True)
        kept.append(rows[ok])
        hashes.append(np.packbits(bits, axis=1))
    return np.concatenate(kept), np.concatenate(hashes)


_BLANK = np.zeros((_SIDE, _SIDE, 3), np.uint8)


def _items_showing(
    pictures: Pictures, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(pictures,) the number of items that show a picture or one tied to it."""
    count = len(pictures)
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    shown = np.unique(np.stack([group.astype(np.int64), pictures.rows]), axis=1)[0]
    items: NDArray[np.int64] = np.bincount(shown, minlength=1)[group]
    return items


def _grey(thumbnails: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    return thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def _candidates(
    hashes: NDArray[np.uint8], most_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs that agree in one of 16 bands of 16 bits, and differ in few bits."""
    # In this order the next in a large bucket are the likest ones.
    order = np.lexsort(hashes.T[::-1])
    hashes = hashes[order]
    found = [np.empty((2, 0), np.int64)]
    for start in range(0, hashes.shape[1], 2):
        pairs = np.stack(pairs_in_buckets(band_buckets(hashes, start, 2), _WINDOW))
        differing = _BITS_SET[hashes[pairs[0]] ^ hashes[pairs[1]]].sum(axis=1, dtype=np.int64)
        found.append(pairs[:, differing <= most_bits])
    a, b = np.unique(np.concatenate(found, axis=1), axis=1)
    return order[a].astype(np.int64), order[b].astype(np.int64)


def _differences(
    pictures: Pictures, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(pairs,) the greatest difference of colour between two pictures, in levels of 255."""
    difference = np.empty(len(a))
    for start in range(0, len(a), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        rows, place = np.unique(np.concatenate([a[some], b[some]]), return_inverse=True)
        found = _thumbnails(pictures, rows)
        small = np.stack([t if t is not None else _BLANK for t in found])
        first, second = np.split(place.reshape(-1), 2)
        difference[some] = colour_differences(small[first], small[second])
    return difference


def colour_differences(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n,) how far two small pictures differ where they differ most, once one is laid over the other.

    Args:
        a: (n, s, s, 3) RGB.
        b: (n, s, s, 3) RGB.

    Returns:
        In levels of 255: the greatest of all places and colours, as a mean of 3 x 3 cells. The border, where a crop
        leaves nothing to compare, does not count.
    """
    x, y = a.astype(np.float32), b.astype(np.float32)
    laid = _laid_over(x, y)
    apart = np.minimum(_widest(x - y), _widest(x - laid))
    return apart.astype(np.float64)


def _widest(difference: NDArray[np.float32]) -> NDArray[np.float32]:
    smooth = np.abs(uniform_filter(difference, size=(1, 3, 3, 1)))
    inner: NDArray[np.float32] = smooth[:, 3:-3, 3:-3].max(axis=(1, 2, 3), initial=0)
    return inner


def _laid_over(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Second pictures, shifted and scaled along both axes so that their brightness fits the first ones."""
    side = x.shape[1]
    at = np.linspace(-1, 1, side, dtype=np.float32)
    move = np.zeros(
        (len(x), 4), np.float32
    )  # shift and stretch down, shift and stretch across, in cells
    laid = y
    target = _grey(x)
    for _ in range(5):
        now = _grey(laid)
        down, across = np.gradient(now, axis=(1, 2))
        slopes = np.stack([down, down * at[:, None], across, across * at[None, :]], axis=-1)
        slopes = slopes[:, 2:-2, 2:-2].reshape(len(x), -1, 4)
        error = (target - now)[:, 2:-2, 2:-2].reshape(len(x), -1, 1)
        normal = slopes.transpose(0, 2, 1) @ slopes + np.eye(4, dtype=np.float32)
        move += np.linalg.solve(normal, slopes.transpose(0, 2, 1) @ error)[:, :, 0]
        # A few percent are a crop; more is another picture.
        np.clip(move, -0.06 * side, 0.06 * side, out=move)
        rows = _sampling(np.arange(side) + move[:, :1] + move[:, 1:2] * at)
        columns = _sampling(np.arange(side) + move[:, 2:3] + move[:, 3:4] * at)
        laid = np.einsum("nij,njkc,nlk->nilc", rows, y, columns, optimize=True)
    return laid


def _sampling(places: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, s, s) matrices that read between cells, linearly, at (n, s) places; beyond the border, the border."""
    side = places.shape[1]
    places = np.clip(places, 0, side - 1)
    distance = np.abs(places[:, :, None] - np.arange(side))
    matrices: NDArray[np.float32] = np.maximum(1 - distance, 0).astype(np.float32)
    return matrices
