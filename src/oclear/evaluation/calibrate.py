"""Learning how probable it is that a photo's item is in the catalogue, and which signals of a search tell it best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oclear.errors import MissingExtraError
from oclear.evaluation.rejection import Scores, auroc, false_answers, threshold_answering
from oclear.store.confidence import SIGNALS, Confidence, signals_of

CANDIDATES: tuple[tuple[str, ...], ...] = (*((name,) for name in SIGNALS), SIGNALS)
"""What is compared: each signal by itself, and all together."""

_FOLDS = 5
# All together must be that much better than the best single one: fewer signals change less as a catalogue grows.
_WORTH = 0.005


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to tell, judged on photos that it was not fitted on.

    Attributes:
        signals: What it looks at.
        auroc: In [0, 1].
        false_answers: Share of photos of absent things answered where 95 % of the others are.
        present: Probabilities given to the photos of present things, each by a fit without it.
        absent: The same for absent ones.
    """

    signals: tuple[str, ...]
    auroc: float
    false_answers: float
    present: Scores
    absent: Scores


def compare_signals(
    present: npt.NDArray[np.float32],
    absent: npt.NDArray[np.float32],
    groups: npt.NDArray[np.int64],
    absent_groups: npt.NDArray[np.int64],
    share_absent: float,
) -> list[Candidate]:
    """Fits and judges every candidate by cross-validation; photos of one group are never on both sides.

    Args:
        present: ``(P, k)`` scores of the first hits of photos whose item is in the index.
        absent: ``(A, k)`` the same of photos whose item is not.
        groups: ``(P,)`` such as the true item: photos of one thing are alike.
        absent_groups: ``(A,)`` likewise.
        share_absent: The share of absent ones to calibrate for.

    Returns:
        One candidate each, in the order of :data:`CANDIDATES`.
    """
    scores = np.concatenate([present, absent])
    is_present = np.repeat([True, False], [len(present), len(absent)])
    weight = _weights(is_present, share_absent)
    _, number = np.unique(np.concatenate([groups, absent_groups]), return_inverse=True)
    fold = np.random.default_rng(0).permutation(number.max() + 1)[number] % _FOLDS
    found = []
    for signals in CANDIDATES:
        inputs = signals_of(scores, signals)
        probability = np.empty(len(scores))
        for held_out in range(_FOLDS):
            rest, here = fold != held_out, fold == held_out
            if here.any():
                slopes, intercept = _fit(inputs[rest], is_present[rest], weight[rest])
                probability[here] = 1 / (1 + np.exp(-(inputs[here] @ slopes + intercept)))
        yes, no = probability[is_present], probability[~is_present]
        found.append(Candidate(signals, auroc(yes, no), false_answers(yes, no), yes, no))
    return found


def best(candidates: list[Candidate]) -> Candidate:
    """The best single signal; all together where they are clearly better."""
    single = max((c for c in candidates if len(c.signals) == 1), key=lambda c: c.auroc)
    together = max(candidates, key=lambda c: c.auroc)
    return together if together.auroc > single.auroc + _WORTH else single


def fit_confidence(
    chosen: Candidate,
    present: npt.NDArray[np.float32],
    absent: npt.NDArray[np.float32],
    share_absent: float,
    answered: float,
    *,
    model_id: str,
    items: int,
) -> Confidence:
    """The chosen candidate, fitted on all photos; its threshold answers the share of present things asked for."""
    is_present = np.repeat([True, False], [len(present), len(absent)])
    inputs = signals_of(np.concatenate([present, absent]), chosen.signals)
    slopes, intercept = _fit(inputs, is_present, _weights(is_present, share_absent))
    confidence = Confidence(
        model_id=model_id,
        signals=chosen.signals,
        weights=tuple(float(slope) for slope in slopes),
        intercept=float(intercept),
        threshold=0.0,
        answered=answered,
        absent=share_absent,
        items=items,
    )
    threshold = threshold_answering(confidence.probability(present), answered)
    return Confidence(**{**confidence.__dict__, "threshold": threshold})


def _weights(is_present: npt.NDArray[np.bool_], share_absent: float) -> Scores:
    """Of each photo, such that the absent ones weigh their share; 1 on average."""
    count, there = len(is_present), max(1, int(is_present.sum()))
    weights: Scores = np.where(
        is_present, (1 - share_absent) / there, share_absent / max(1, count - there)
    )
    return weights * count


def _fit(inputs: Scores, is_present: npt.NDArray[np.bool_], weight: Scores) -> tuple[Scores, float]:
    """Slopes and intercept of a logistic regression (Platt scaling, where there is one input)."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "train", "to calibrate") from error
    mean, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-9)
    # Hardly held back: there are hundreds of photos for a handful of numbers.
    model = LogisticRegression(C=100.0, max_iter=1000)
    model.fit((inputs - mean) / spread, is_present, sample_weight=weight)
    slopes = model.coef_[0] / spread
    return slopes, float(model.intercept_[0] - slopes @ mean)
