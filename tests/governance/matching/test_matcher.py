"""The matcher is scikit-learn's logistic regression, told as a sum."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from oclear.governance.matching.comparisons import Comparisons
from oclear.governance.matching.matcher import Matcher

RNG = np.random.default_rng(0)
SAME = RNG.random(400) < 0.4
VALUES = np.stack(
    [
        SAME + RNG.normal(size=400),
        -2.0 * SAME + 5 * RNG.normal(size=400),
        RNG.normal(size=400),
    ],
    axis=1,
).astype(np.float32)
# The second is not stated more often where the two are one product.
VALUES[RNG.random(400) < np.where(SAME, 0.5, 0.1), 1] = np.nan
PAIRS = Comparisons(("x", "y", "noise"), VALUES)


@pytest.fixture(scope="module")
def matcher():
    return Matcher.fit(PAIRS, SAME)


def test_log_odds_are_the_decision_function_of_scikit_learn(matcher):
    known = ~np.isnan(VALUES)
    mean, scale = np.nanmean(VALUES, axis=0, dtype=float), np.nanstd(VALUES, axis=0, dtype=float)
    inputs = np.hstack([np.where(known, (VALUES - mean) / scale, 0), ~known])
    model = LogisticRegression(C=1.0, max_iter=2000).fit(inputs, SAME)
    np.testing.assert_allclose(matcher.log_odds(PAIRS), model.decision_function(inputs), atol=1e-3)


def test_contributions_sum_to_the_log_odds(matcher):
    parts = matcher.contributions(PAIRS)
    assert parts.shape == (400, 3)
    np.testing.assert_allclose(
        parts.sum(axis=1) + matcher.intercept, matcher.log_odds(PAIRS), atol=1e-4
    )
    np.testing.assert_allclose(parts[np.isnan(VALUES[:, 1]), 1], matcher.unknown[1], rtol=1e-6)


def test_it_learns_what_speaks_for_what(matcher):
    assert matcher.weight[0] > 0.5 and matcher.weight[1] < -0.2
    assert abs(matcher.weight[2]) < 0.2
    assert matcher.unknown[1] > 0.5


def test_it_comes_back_from_json(matcher):
    again = Matcher.from_json(json.loads(json.dumps(matcher.as_json())))
    assert again.names == matcher.names
    np.testing.assert_allclose(again.log_odds(PAIRS), matcher.log_odds(PAIRS), atol=1e-4)


def test_units_decide_nothing(matcher):
    scaled = Comparisons(PAIRS.names, VALUES * np.float32([100, 0.01, 3]) + np.float32([7, 0, 1]))
    again = Matcher.fit(scaled, SAME)
    np.testing.assert_allclose(again.log_odds(scaled), matcher.log_odds(PAIRS), atol=2e-2)


@pytest.mark.parametrize("constant", [0.1, np.nan])
def test_what_never_differs_in_the_labelled_pairs_says_nothing(constant):
    """Not even where it differs later: nobody knows what that means."""
    values = VALUES.copy()
    values[:, 2] = constant
    found = Matcher.fit(Comparisons(PAIRS.names, values), SAME)
    later = values.copy()
    later[:, 2] = 50
    spoken = found.contributions(Comparisons(PAIRS.names, later))[:, 2]
    np.testing.assert_allclose(spoken, 0, atol=1e-3)
