"""What a click and a result list say for and against a group."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from oclear.governance.assign.behaviour import Behaviour
from oclear.governance.assign.pairs import Pairs

# Photo 0 clicked item 0, photo 1 nothing, photo 2 items 0 and 2; item 3 was never shown.
CLICKS = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [3, 0, 1, 0]])
SHOWN = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 0]])


def on_all(shown=SHOWN):
    into_groups = csr_matrix(np.eye(4))
    lists = None if shown is None else csr_matrix(shown)
    behaviour = Behaviour.of(csr_matrix(CLICKS), lists, into_groups)
    return behaviour.on(Pairs.entries_of([csr_matrix(np.ones((3, 4)))]))


def test_likelihood_of_clicks_without_lists():
    on_group, elsewhere = on_all(None).clicks(0.2)
    wrong = 0.2 / 4
    likely = np.exp(on_group).reshape(3, 4)
    np.testing.assert_allclose(likely[0], [0.8 + wrong, wrong, wrong, wrong])
    np.testing.assert_allclose(likely[1], 1)
    np.testing.assert_allclose(likely[2], [0.6 + wrong, wrong, 0.2 + wrong, wrong])
    np.testing.assert_allclose(np.exp(elsewhere), [wrong, 1, wrong])


def test_a_group_that_was_not_listed_could_not_be_clicked():
    on_group, elsewhere = on_all().clicks(0.2)
    likely = np.exp(on_group).reshape(3, 4)
    np.testing.assert_allclose(likely[0], [0.8 + 0.2 / 2, 0.2 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(np.exp(elsewhere), [1 / 2, 1, 1 / 3])


def test_a_group_in_every_list_gains_least_and_one_never_listed_half_of_what_others_do():
    ratio = on_all().lists(0.9).reshape(3, 4)
    assert ratio[1, 2] > ratio[1, 1] > 0 > ratio[0, 2]
    listed = [ratio[photo, SHOWN[photo] > 0].mean() for photo in range(3)]
    np.testing.assert_allclose(ratio[:, 3], np.array(listed) / 2)
    assert not on_all(None).lists(0.9).any()


def test_a_click_whose_exposure_is_missing_counts_as_shown():
    found = on_all(np.zeros_like(SHOWN)).listed.reshape(3, 4)
    np.testing.assert_array_equal(found, CLICKS > 0)


@pytest.mark.parametrize("wrong", [0.1, 0.5])
def test_wrong_share_and_listed_share_come_from_the_clearest_photos(wrong):
    count, groups = 400, 5
    rng = np.random.default_rng(0)
    true = rng.integers(0, groups, count)
    clicked = np.where(rng.random(count) < wrong, (true + 1) % groups, true)
    shown = np.eye(groups)[clicked] + np.eye(groups)[true] * (rng.random(count) < 0.8)[:, None]
    behaviour = Behaviour.of(
        csr_matrix(np.eye(groups)[clicked]), csr_matrix(shown), csr_matrix(np.eye(groups))
    )
    pairs = Pairs.entries_of([csr_matrix(np.ones((count, groups)))])
    clear = rng.random(count) < 0.4
    guess = np.where(clear, true, rng.integers(0, groups, count))
    belief = (np.eye(groups)[guess] * np.where(clear, 0.9, 0.4)[:, None]).ravel()
    on_pairs = behaviour.on(pairs)
    assert on_pairs.wrong_share(belief) == pytest.approx(wrong, abs=0.07)
    expected = 1 - wrong * 0.2
    assert on_pairs.listed_share(belief) == pytest.approx(expected, abs=0.05)
    assert on_pairs.click_fit(np.eye(groups)[clicked].ravel(), 0.2) > on_pairs.click_fit(
        belief, 0.2
    )


def test_what_is_listed_more_often_is_searched_more_often():
    searched = on_all().behaviour.searched()
    # Of three photos and two more, three, four, three lists held them.
    rates = np.sqrt([3 / 5, 4 / 5, 3 / 5])
    expected = np.append(rates, np.median(rates))
    np.testing.assert_allclose(searched, expected / expected.sum())
    np.testing.assert_allclose(on_all(None).behaviour.searched(), 1 / 4)
    np.testing.assert_allclose(on_all().prior().reshape(3, 4), [np.log(searched)] * 3)


def test_a_rare_thing_in_the_list_by_chance_wins_no_photo_of_a_popular_one():
    """Of two things in a list, the rare one gains no more by being there than half of what lists alone say."""
    count = 200
    shown = np.zeros((count, 40))
    shown[:, 0] = 1
    shown[np.arange(count), 1 + np.arange(count) % 39] = 1
    behaviour = Behaviour.of(csr_matrix((count, 40)), csr_matrix(shown), csr_matrix(np.eye(40)))
    on_pairs = behaviour.on(Pairs.entries_of([csr_matrix(np.ones((1, 40)).repeat(count, 0))]))
    belief = (on_pairs.prior() + on_pairs.lists(0.9)).reshape(count, 40)
    rare = belief[np.arange(count), 1 + np.arange(count) % 39]
    without = on_pairs.lists(0.9).reshape(count, 40)
    gap = without[np.arange(count), 1 + np.arange(count) % 39] - without[:, 0]
    np.testing.assert_allclose(rare - belief[:, 0], gap / 2, rtol=1e-6)
