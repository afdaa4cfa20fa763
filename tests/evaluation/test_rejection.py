"""Telling photos of things in the catalogue from others: against independent implementations, and on made-up scores."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from oclear.evaluation import Ranking, rank
from oclear.evaluation.calibrate import best, compare_signals, fit_confidence
from oclear.evaluation.rejection import (
    auroc,
    calibration_error,
    false_answers,
    scores_without_truth,
    threshold_answering,
    with_interval,
)


@pytest.fixture(params=range(3))
def scores(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Of present and of absent things, with ties."""
    rng = np.random.default_rng(request.param)
    return rng.normal(1, 1, 150).round(1), rng.normal(0, 1, 90).round(1)


def labelled(present: np.ndarray, absent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 0], [len(present), len(absent)]), np.concatenate([present, absent])


def test_auroc_is_scikit_learns(scores):
    assert auroc(*scores) == pytest.approx(roc_auc_score(*labelled(*scores)), abs=1e-12)


def test_false_answers_are_the_false_positive_rate(scores):
    wrong, right, _ = roc_curve(*labelled(*scores), drop_intermediate=False)
    for share in (0.8, 0.95, 1.0):
        expected = wrong[np.flatnonzero(right >= share - 1e-12)[0]]
        assert false_answers(*scores, share) == pytest.approx(expected)
        assert (scores[0] >= threshold_answering(scores[0], share)).mean() >= share - 1e-12


def test_the_interval_holds_the_value(scores):
    present, absent = scores
    found = with_interval(auroc, present, absent, paired=False, resamples=200)
    assert found["low"] < found["value"] < found["high"]
    assert found == with_interval(auroc, present, absent, paired=False, resamples=200)
    # The same photo with and without its item: what is hard about it is hard in both.
    paired = with_interval(auroc, present, present - 1, paired=True, resamples=200)
    single = with_interval(auroc, present, present - 1, paired=False, resamples=200)
    assert paired["high"] - paired["low"] < single["high"] - single["low"]


def test_probabilities_that_mean_what_they_say_have_no_calibration_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(size=200_000)
    is_present = rng.uniform(size=len(probability)) < probability
    right = calibration_error(
        probability[is_present], probability[~is_present], (~is_present).mean()
    )
    assert right < 0.01
    # For another share of absent things the same probabilities are wrong.
    assert calibration_error(probability[is_present], probability[~is_present], 0.1) > 0.1
    sure = np.clip(probability * 3 - 1, 0, 1)
    assert calibration_error(sure[is_present], sure[~is_present], (~is_present).mean()) > 0.05


def test_scores_without_truth_are_those_of_an_index_without_it():
    rng = np.random.default_rng(1)
    documents, queries = rng.normal(size=(30, 6)), rng.normal(size=(8, 6))
    documents, queries = documents.astype(np.float32), queries.astype(np.float32)
    item = np.sort(rng.integers(0, 12, 30))
    truth = [[0], [3, 5], [], [-1, 7], [2], [11], [1, 2, 3], [4]]
    indptr = np.concatenate([[0], np.cumsum([len(t) for t in truth])])
    deep = rank(queries, documents, item, k=4 + 3)
    found = scores_without_truth(deep, indptr, np.array([i for t in truth for i in t], np.int64))
    for q, true in enumerate(truth):
        others = ~np.isin(item, true)
        expected = rank(queries[q : q + 1], documents[others], item[others], k=4).scores[0]
        np.testing.assert_allclose(found[q, :4], expected, rtol=1e-6)


def made_up(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """First scores that tell, second ones that do not."""
    present, absent = rng.uniform(-0.2, 0.2, (2, count, 10))
    present[:, 0], absent[:, 0] = rng.normal(0.8, 0.1, count), rng.normal(0.6, 0.1, count)
    return tuple(-np.sort(-s.astype(np.float32), axis=1) for s in (present, absent))


def test_the_calibrated_probability_holds_on_new_photos():
    rng = np.random.default_rng(2)
    present, absent = made_up(rng, 400)
    groups = np.arange(400) // 4
    found = compare_signals(present, absent, groups, groups, 0.3)
    chosen = best(found)
    assert chosen.auroc == max(c.auroc for c in found if len(c.signals) == 1)
    model = fit_confidence(chosen, present, absent, 0.3, 0.9, model_id="m", items=50)
    assert (model.probability(present) >= model.threshold).mean() == pytest.approx(0.9, abs=0.01)

    new_present, new_absent = made_up(rng, 4000)
    p, a = model.probability(new_present), model.probability(new_absent)
    assert auroc(p, a) == pytest.approx(0.92, abs=0.02)
    assert calibration_error(p, a, 0.3) < 0.05
    assert chosen.auroc == pytest.approx(auroc(p, a), abs=0.03)


def test_photos_of_one_thing_are_never_on_both_sides():
    # Labels that only the group tells: whoever knew the groups would be right, whoever does not is at chance.
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 5)
    level = rng.normal(0.5, 0.1, 60)[groups]
    scores = np.repeat(level[:, None], 10, axis=1).astype(np.float32)
    is_present = rng.permutation(np.repeat([True, False], 30))[groups]
    found = compare_signals(
        scores[is_present], scores[~is_present], groups[is_present], groups[~is_present], 0.5
    )
    assert all(abs(candidate.auroc - 0.5) < 0.25 for candidate in found)


def test_an_empty_ranking_gives_nothing():
    ranking = Ranking(np.full((1, 3), -1), np.full((1, 3), -np.inf, np.float32), gallery_size=0)
    empty = scores_without_truth(ranking, np.array([0, 1]), np.array([-1]))
    assert np.isneginf(empty).all()
