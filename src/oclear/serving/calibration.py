"""How many photos to encode together: what pays on this machine, measured when the server starts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from oclear.serving.encoder import QueryEncoder

MOST = 64
_GAIN = 1.1
_SECONDS = 0.15


def paying_batch(encode: QueryEncoder, size: int) -> int:
    """The batch size to use at most: doubled from 1 as long as each doubling encodes a tenth more photos a second.

    On a CPU it often is 1: a small encoder fits the caches alone and no longer in company. All workers run at once, as
    under load. It warms the encoder up, too.

    Args:
        encode: The encoder.
        size: Side length of its pictures.
    """
    best, rate = 1, _photos_a_second(encode, size, 1)
    while best < MOST:
        doubled = _photos_a_second(encode, size, 2 * best)
        if doubled < _GAIN * rate:
            break
        best, rate = 2 * best, doubled
    return best


def _photos_a_second(encode: QueryEncoder, size: int, batch: int) -> float:
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, size, size), np.uint8)

    def work(_: int) -> float:
        encode(pixels)  # shapes seen first are compiled first
        rounds, began = 0, time.perf_counter()
        while (seconds := time.perf_counter() - began) < _SECONDS or rounds < 2:
            encode(pixels)
            rounds += 1
        return rounds * batch / seconds

    with ThreadPoolExecutor(encode.workers) as pool:
        return sum(pool.map(work, range(encode.workers)))
