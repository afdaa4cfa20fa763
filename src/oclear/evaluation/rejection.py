"""How well photos of things in the catalogue are told from photos of things that are not.

Photos of things that are not in it come from two places. Any photo with known true items becomes one when these are
left out of its ranking: what is found then is the nearest wrong thing, the hardest case. And there may be photos of
things that the shop never sold.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from oclear.evaluation.measures import Estimate
from oclear.evaluation.ranking import Ranking

ANSWERED = 0.95
_RESAMPLES = 1000

Scores = npt.NDArray[np.float64]


def scores_without_truth(
    ranking: Ranking, truth_indptr: npt.NDArray[np.int64], truth_items: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The scores of each query's ranking as they were, had its true items been left out of the index.

    Args:
        ranking: Of Q queries, ``k`` columns; only the first ``k`` minus the most true items of a query are complete.
        truth_indptr: With ``truth_items`` the true items of each query.
        truth_items: Item indices, -1 for one that is not in the index.

    Returns:
        ``(Q, k)``, best first, ``-inf`` at the end.

    Example:
        >>> ranking = Ranking(np.array([[7, 3]]), np.array([[0.9, 0.5]], np.float32), gallery_size=9)
        >>> scores_without_truth(ranking, np.array([0, 1]), np.array([7])).tolist()
        [[0.5, -inf]]
    """
    stride = int(max(ranking.items.max(initial=0), truth_items.max(initial=0))) + 1
    rows = np.arange(len(ranking))[:, None]
    truth = np.repeat(rows[:, 0], np.diff(truth_indptr)) * stride + truth_items
    is_true = np.isin(rows * stride + ranking.items, truth[truth_items >= 0])
    left = np.where(is_true & (ranking.items >= 0), np.float32(-np.inf), ranking.scores)
    kept: npt.NDArray[np.float32] = -np.sort(-left, axis=1)
    return kept


def auroc(present: Scores, absent: Scores) -> float:
    """Probability that a photo of something present scores above one of something absent; ties count half.

    Example:
        >>> auroc(np.array([0.9, 0.5]), np.array([0.5, 0.1]))
        0.875
    """
    below = np.sort(absent)
    ranks = np.searchsorted(below, present, "left") + np.searchsorted(below, present, "right")
    return float(ranks.sum() / (2 * len(present) * len(absent)))


def threshold_answering(present: Scores, share: float = ANSWERED) -> float:
    """The highest score from which on at least that share of the photos of present things is answered.

    Example:
        >>> threshold_answering(np.arange(100) / 100, 0.95)
        0.05
    """
    return float(np.sort(present)[int((1 - share) * len(present) + 1e-9)])


def false_answers(present: Scores, absent: Scores, share: float = ANSWERED) -> float:
    """Share of photos of absent things that are answered where that share of the others is (FPR at 95 % TPR).

    Example:
        >>> false_answers(np.array([0.5, 0.9]), np.array([0.1, 0.6, 0.7, 0.2]), 1.0)
        0.5
    """
    return float((absent >= threshold_answering(present, share)).mean())


def calibration_error(
    present: Scores, absent: Scores, share_absent: float, bins: int = 10
) -> float:
    """Expected calibration error (Naeini et al. 2015) of probabilities of being present, over bins of equal weight.

    Args:
        present: Probabilities given to photos of present things.
        absent: The same for absent ones.
        share_absent: What share of all photos those are to stand for, however many there are.
        bins: How many.

    Example:
        >>> calibration_error(np.array([0.8] * 4), np.array([0.8]), 0.2) < 1e-9
        True
    """
    probability = np.concatenate([present, absent])
    is_present = np.repeat([1.0, 0.0], [len(present), len(absent)])
    weight = np.repeat(
        [(1 - share_absent) / len(present), share_absent / len(absent)],
        [len(present), len(absent)],
    )
    order = np.argsort(probability, kind="stable")
    probability, is_present, weight = probability[order], is_present[order], weight[order]
    # Equal probabilities are one bin's.
    _, first = np.unique(probability, return_index=True)
    group = np.repeat(first, np.diff(np.append(first, len(probability))))
    bin_of = np.minimum((np.cumsum(weight) - weight)[group] * bins, bins - 1e-9).astype(int)
    gap = np.bincount(bin_of, weight * (is_present - probability), minlength=bins)
    return float(np.abs(gap).sum())


def with_interval(
    statistic: Callable[[Scores, Scores], float],
    present: Scores,
    absent: Scores,
    *,
    paired: bool,
    seed: int = 0,
    resamples: int = _RESAMPLES,
    level: float = 0.95,
) -> Estimate:
    """A statistic of both kinds of photos with its percentile bootstrap interval, drawing photos.

    Args:
        statistic: Such as :func:`auroc`.
        present: Scores of photos of present things.
        absent: Of absent ones.
        paired: Whether entry i of both is one photo, with its true items and without: they are drawn together.
        seed: Of the draws.
        resamples: How many.
        level: Of the interval.
    """
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = generator.integers(0, len(present), len(present))
        others = drawn if paired else generator.integers(0, len(absent), len(absent))
        values.append(statistic(present[drawn], absent[others]))
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Estimate(value=statistic(present, absent), low=float(low), high=float(high))
