"""How sure a search is: signals of the first hits, kept beside the store, refused where they do not fit."""

import json

import numpy as np
import pytest

from oclear.errors import FormatError, InputError
from oclear.store.confidence import (
    SIGNALS,
    Confidence,
    confidence_file,
    read_confidence,
    signals_of,
    write_confidence,
)
from oclear.store.judging import search_judged, threshold_of

CONFIDENCE = Confidence(
    model_id="m1",
    signals=("cosine", "margin"),
    weights=(10.0, 2.0),
    intercept=-5.0,
    threshold=0.4,
    answered=0.95,
    absent=0.2,
    items=3,
)


def test_signals_are_what_they_say():
    scores = np.array([[0.8, 0.5, 0.4, 0.3]], np.float32)
    found = dict(zip(SIGNALS, signals_of(scores)[0].tolist(), strict=True))
    # Missing hits are taken to be as far away as the last one.
    others = np.array([0.5, 0.4, 0.3, *[0.3] * 6], np.float32)
    assert found["cosine"] == pytest.approx(0.8)
    assert found["margin"] == pytest.approx(0.3)
    assert found["zscore"] == pytest.approx((0.8 - others.mean()) / others.std(), rel=1e-5)
    soft = 0.05 * np.log(np.exp(np.append(others, 0.8) / 0.05).sum())
    assert found["energy"] == pytest.approx(soft, rel=1e-5)


@pytest.mark.parametrize("hits", [0, 1, 2, 10, 12])
def test_signals_are_finite_however_few_hits_there_are(hits):
    scores = np.full((2, 12), -np.inf, np.float32)
    scores[:, :hits] = np.linspace(0.9, 0.1, hits)
    assert np.isfinite(signals_of(scores)).all()


def test_a_nearer_first_hit_is_more_probable():
    scores = np.array([[0.2, 0.1], [0.5, 0.1], [0.9, 0.1]], np.float32)
    probability = CONFIDENCE.probability(scores)
    assert (np.diff(probability) > 0).all()
    odds = 10 * 0.5 + 2 * 0.4 - 5
    assert probability[1] == pytest.approx(1 / (1 + np.exp(-odds)))


def test_it_comes_back_as_it_was(tmp_path):
    assert read_confidence(tmp_path, "m1") is None
    write_confidence(tmp_path, CONFIDENCE)
    assert read_confidence(tmp_path, "m1") == CONFIDENCE
    assert read_confidence(tmp_path, "m2") is None


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"kind": "index"},
        {"model_id": "m2"},
        {"signals": ["cosine", "smell"]},
        {"weights": [1.0]},
        {"surprise": 1},
        None,
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path, change):
    write_confidence(tmp_path, CONFIDENCE)
    path = confidence_file(tmp_path, "m1")
    found = json.loads(path.read_text())
    path.write_text("{" if change is None else json.dumps({**found, **change}))
    with pytest.raises(FormatError, match=r"confidence-m1\.json"):
        read_confidence(tmp_path, "m1")


def test_the_threshold_asked_for():
    assert threshold_of(None, None) is None
    assert threshold_of("calibrated", CONFIDENCE) == 0.4
    assert threshold_of(0.7, CONFIDENCE) == 0.7
    with pytest.raises(InputError, match="calibrate"):
        threshold_of(0.7, None)


class Shelf:
    """A store that finds one thing near and others at its side."""

    def search(self, vectors, k, where=None):
        from oclear.store import Hit

        return [[Hit(str(n), v[0] - n / 100, 0, {}) for n in range(min(k, 5))] for v in vectors]


def test_a_photo_below_the_threshold_has_no_hits():
    photos = np.array([[0.9], [0.2]], np.float32)
    near, far = search_judged(Shelf(), photos, 1, None, CONFIDENCE, 0.5)
    assert (len(near.hits), near.rejected) == (1, False)
    assert (far.hits, far.rejected) == ([], True)
    assert near.in_catalogue > 0.5 > far.in_catalogue
    # However few hits are asked for, it is judged by as many as it was learned from.
    more = search_judged(Shelf(), photos, 5, None, CONFIDENCE)
    assert [found.in_catalogue for found in more] == [near.in_catalogue, far.in_catalogue]
    assert [len(found.hits) for found in more] == [5, 5]


def test_without_confidence_everything_is_answered():
    (found,) = search_judged(Shelf(), np.array([[0.1]], np.float32), 2, None, None)
    assert (len(found.hits), found.in_catalogue, found.rejected) == (2, None, False)
