"""Is one arm better than another on the same photos?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_CELLS = 1 << 22


@dataclass(frozen=True)
class Difference:
    """A mean difference with its 95 % interval and the two-sided p of there being none."""

    value: float
    low: float
    high: float
    p: float


def paired_bootstrap(
    differences: NDArray[np.float64], *, resamples: int = 10_000, seed: int = 0
) -> Difference:
    """The mean of paired differences, with seeds and photos both drawn anew.

    Trials of several seeds measure the same photos: they are no new photos, and photos of one seed share its luck.
    So rows and columns are resampled each on their own (the pigeonhole bootstrap: McCullagh 2000; Owen 2007), which is
    wider than either alone. With one seed it is the ordinary paired bootstrap over photos.

    Args:
        differences: (seeds, photos).
        resamples: Means that are drawn; p is at least 2 / (resamples + 1).
        seed: Of the draws.

    Raises:
        ValueError: No differences, or some that are not finite.

    Example:
        >>> none = paired_bootstrap(np.array([[1.0, -1.0] * 20]), resamples=200)
        >>> none.value, none.p > 0.5
        (0.0, True)
    """
    if differences.size == 0 or not np.isfinite(differences).all():
        raise ValueError("a paired test needs finite differences, and at least one")
    seeds, photos = differences.shape
    # Photos that differ alike are drawn as one kind: the same distribution, and kinds are few.
    kinds, counts = np.unique(differences, axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    rows = max(1, _MAX_CELLS // len(counts))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        of_photos = rng.multinomial(photos, counts / photos, size=size) / photos
        of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        means.append(((of_photos @ kinds.T) * of_seeds).sum(axis=1))
    drawn = np.concatenate(means)
    low, high = np.quantile(drawn, [0.025, 0.975])
    # Rounding must not make a difference of nothing one of something.
    tail = min((drawn <= 1e-12).sum(), (drawn >= -1e-12).sum())
    p = min(1.0, 2 * (float(tail) + 1) / (resamples + 1))
    return Difference(float(differences.mean()), float(low), float(high), p)


def holm(ps: Sequence[float]) -> list[float]:
    """p values made larger for being several (Holm 1979): below 0.05 together they are wrong in at most 5 %.

    Example:
        >>> holm([0.01, 0.5, 0.03])
        [0.03, 0.5, 0.06]
    """
    adjusted, least = [0.0] * len(ps), 0.0
    for place, at in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        least = max(least, min(1.0, (len(ps) - place) * ps[at]))
        adjusted[at] = least
    return adjusted
