"""Queries join IDs by click and surroundings; who is left out is counted, with the reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from oclear.governance.assign import Memberships, assign_queries
from oclear.governance.assign.queries import believe

SETTINGS = {
    "wrong_click_share": 0.3,
    "temperature": 0.05,
    "least_share": 0.6,
    "unclicked_share": 0.9,
}
NO_PICTURE = "no readable picture"
DISAGREE = "clicked, but its surroundings disagree"
NOT_NEAR = "no click, and nothing near enough"
GROUPS, EACH = 6, 12


def world(make, extra_photos=(), clicks=()):
    """Six items, a dozen photos near each, all clicked rightly; then some more photos, some with clicks.

    Returns:
        (photos, items) clicks, and looks.
    """
    rng = np.random.default_rng(0)
    items = np.eye(GROUPS + 2)[:GROUPS]
    shown = np.repeat(np.arange(GROUPS), EACH)
    photos = items[shown] + 0.15 * rng.normal(size=(len(shown), GROUPS + 2))
    photos = np.concatenate([photos, np.reshape(extra_photos, (-1, GROUPS + 2))])
    rows = np.concatenate([np.arange(len(shown)), [len(shown) + q for q, _ in clicks]]).astype(int)
    columns = np.concatenate([shown, [i for _, i in clicks]]).astype(int)
    matrix = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(photos), GROUPS))
    return matrix, make.looks(items, photos)


def near(*weights):
    vector = np.zeros(GROUPS + 2)
    vector[: len(weights)] = weights
    return vector


def assign(matrix, looks, group=None):
    group = np.arange(matrix.shape[1]) if group is None else group
    return assign_queries(matrix, group, looks, **SETTINGS)


def test_right_clicks_are_believed(make):
    found = assign(*world(make))
    np.testing.assert_array_equal(found.group, np.repeat(np.arange(GROUPS), EACH))
    assert set(found.evidence) == {"click"}
    assert (found.weight > 0.9).all()
    assert sum(found.left_out.values()) == 0


def test_an_obvious_wrong_click_is_relabelled(make):
    found = assign(*world(make, [near(1, 0.05)], [(0, 3)]))
    assert found.group[-1] == 0
    assert found.evidence[-1] == "neighbours"


def test_a_photo_between_two_things_that_clicks_a_third_is_left_out(make):
    found = assign(*world(make, [near(1, 1)], [(0, 3)]))
    assert (found.group[-1], found.weight[-1], found.evidence[-1]) == (-1, 0, "")
    assert found.left_out == {NO_PICTURE: 0, DISAGREE: 1, NOT_NEAR: 0}


def test_a_photo_without_clicks_joins_what_it_is_near_to(make):
    found = assign(*world(make, [near(1, 0.05)]))
    assert (found.group[-1], found.evidence[-1]) == (0, "neighbours")


def test_a_photo_without_clicks_that_nothing_is_near_to_is_left_out(make):
    """Its nearest group is clear, but far."""
    far = near(0.05, -0.3, -0.3, -0.3, -0.3, -0.3)
    far[-2:] = 0.6
    found = assign(*world(make, [far]))
    assert found.group[-1] == -1
    assert found.left_out == {NO_PICTURE: 0, DISAGREE: 0, NOT_NEAR: 1}


def test_a_click_alone_is_believed_where_nothing_is_near(make):
    far = near(0.15)
    far[-2:] = 1
    found = assign(*world(make, [far], [(0, 2)]))
    assert (found.group[-1], found.evidence[-1]) == (2, "click")


def test_a_query_without_a_picture_is_left_out_with_that_reason(make):
    found = assign(*world(make, [near(0), near(0)], [(0, 0)]))
    assert found.group[-2:].tolist() == [-1, -1]
    assert found.left_out == {NO_PICTURE: 2, DISAGREE: 0, NOT_NEAR: 0}


def test_clicks_on_two_items_of_one_group_are_one_voice(make):
    matrix, looks = world(make, [near(1)], [(0, 0), (0, 1)])
    found = assign(matrix, looks, np.array([0, 0, 1, 2, 3, 4]))
    assert (found.group[-1], found.evidence[-1]) == (0, "click")


@pytest.mark.parametrize("clicked", [True, False])
def test_one_query_and_one_item(make, clicked):
    matrix = csr_matrix(np.array([[1.0 if clicked else 0.0]]))
    found = assign(matrix, make.looks([[1, 0]], [[1, 0]]))
    assert found.group.tolist() == [0]
    assert found.evidence.tolist() == ["click" if clicked else "neighbours"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_everyone_is_in_or_left_out_for_one_reason(make, data):
    photos, items = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 6))
    vector = st.sampled_from([(0, 0, 0), (1, 0, 0), (1, 0.1, 0), (0, 1, 0), (1, 1, 1), (-1, 0, 0)])
    looks = make.looks(
        data.draw(st.lists(vector, min_size=items, max_size=items)),
        data.draw(st.lists(vector, min_size=photos, max_size=photos)),
    )
    pairs = data.draw(st.sets(st.tuples(st.integers(0, photos - 1), st.integers(0, items - 1))))
    clicks = np.zeros((photos, items))
    for q, i in pairs:
        clicks[q, i] = data.draw(st.sampled_from([1.0, 2.0, 3.0]))
    labels = data.draw(st.lists(st.integers(0, 3), min_size=items, max_size=items))
    group = np.unique(labels, return_inverse=True)[1]
    found = assign(csr_matrix(clicks), looks, group)

    joined = found.group >= 0
    assert joined.sum() + sum(found.left_out.values()) == photos
    assert found.left_out[NO_PICTURE] == (~looks.queries.any(axis=1)).sum()
    least = np.where(np.isin(np.arange(photos), found.also.query), 0.3, 0.6)
    assert ((found.weight >= least - 1e-6) & (found.weight <= 1 + 1e-6))[joined].all()
    assert joined[found.also.query].all()
    assert not found.weight[~joined].any() and set(found.evidence[~joined]) <= {""}
    for q in np.flatnonzero(joined):
        own = set(group[np.flatnonzero(clicks[q])].tolist())
        assert (found.evidence[q] == "click") == (int(found.group[q]) in own)
        assert found.group[q] <= group.max()
        assert own or found.weight[q] >= 0.9 - 1e-6, "without a click the stricter gate holds"


PEOPLE, SHOTS, DIM = 30, 12, 24


class Shop:
    """A simulated shop that is large enough to learn from: photos differ a lot in directions that mean nothing.

    Result lists hold what the photo shows nine times of ten, and seven other items, on which wrong clicks fall.
    """

    def __init__(self, wrong, seed=0):
        rng = np.random.default_rng(seed)
        self.shown_thing = np.repeat(np.arange(PEOPLE), SHOTS)
        count = len(self.shown_thing)
        # What tells things apart is in half of the directions; light and hand move photos along the others.
        places = np.zeros((PEOPLE, DIM))
        places[:, : DIM // 2] = rng.normal(size=(PEOPLE, DIM // 2))
        spread = np.concatenate([np.full(DIM // 2, 0.45), np.full(DIM // 2, 1.5)])
        self.photos = places[self.shown_thing] + spread * rng.normal(size=(count, DIM))
        self.items = places + 0.3 * spread * rng.normal(size=places.shape)
        lists = np.argsort(rng.random((count, PEOPLE)), axis=1)[:, :7]
        self.shown = np.zeros((count, PEOPLE))
        np.put_along_axis(self.shown, lists, 1.0, axis=1)
        self.shown[np.arange(count), self.shown_thing] = rng.random(count) < 0.9
        self.wrongly = rng.random(count) < wrong
        self.clicks = np.zeros((count, PEOPLE))
        for photo in range(count):
            right = self.shown_thing[photo]
            others = np.setdiff1d(np.flatnonzero(self.shown[photo]), [right])
            misses = self.wrongly[photo] or not self.shown[photo, right]
            self.clicks[photo, rng.choice(others) if misses else right] = 1.0
        self.wrong_share = (self.clicks.argmax(axis=1) != self.shown_thing).mean()

    def assign(self, make, rows=slice(None), lists=True, **settings):
        looks = make.looks(self.items, self.photos[rows])
        shown = csr_matrix(self.shown[rows]) if lists else None
        clicks = csr_matrix(self.clicks[rows])
        return assign_queries(clicks, np.arange(PEOPLE), looks, shown=shown, **settings)

    def right(self, found):
        """Share of all photos that are in the right group."""
        return (found.group == self.shown_thing).mean()


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.4])
def test_more_labels_are_right_than_clicks_and_than_the_vote_of_the_nearest(
    make, monkeypatch, wrong, lists
):
    shop = Shop(wrong)
    learned = shop.assign(make, lists=lists)
    monkeypatch.setattr("oclear.governance.assign.queries._LEAST_TEACHERS", 10**9)
    vote = shop.assign(make, lists=lists)
    assert shop.right(learned) > 1 - shop.wrong_share
    assert shop.right(learned) > shop.right(vote)
    kept = learned.group >= 0
    assert (learned.group == shop.shown_thing)[kept].mean() > 0.85


@pytest.mark.parametrize("wrong", [0.2, 0.4])
def test_result_lists_help(make, wrong):
    shop = Shop(wrong)
    assert shop.right(shop.assign(make)) > shop.right(shop.assign(make, lists=False))


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.4, 0.6])
def test_the_share_of_wrong_clicks_is_estimated(make, wrong):
    shop = Shop(wrong)
    assert shop.assign(make).noise_share == pytest.approx(shop.wrong_share, abs=0.1)


def test_the_order_of_photos_and_items_does_not_matter(make):
    shop = Shop(0.4)
    order = np.random.default_rng(5).permutation(len(shop.photos))
    first, second = shop.assign(make), shop.assign(make, order)
    np.testing.assert_array_equal(second.group, first.group[order])
    np.testing.assert_allclose(second.weight, first.weight[order], atol=1e-3)
    assert second.left_out == first.left_out

    places = np.random.default_rng(6).permutation(PEOPLE)
    looks = make.looks(shop.items[places], shop.photos)
    clicks, shown = csr_matrix(shop.clicks[:, places]), csr_matrix(shop.shown[:, places])
    third = assign_queries(clicks, places, looks, shown=shown)
    np.testing.assert_array_equal(third.group, first.group)


def test_an_item_that_no_list_ever_held_is_found_by_its_looks(make):
    """Its photos all have wrong clicks; its document is there, and the photos gather around it."""
    shop = Shop(0.2)
    of_new = shop.shown_thing == 3
    shop.shown[:, 3] = 0
    shop.clicks[shop.clicks[:, 3] > 0] = 0
    found = shop.assign(make, unclicked_share=0.6)
    joined = of_new & (found.group >= 0)
    assert joined.sum() >= SHOTS / 2
    assert (found.group[joined] == 3).mean() > 0.8


def test_photos_without_clicks_need_the_stricter_share(make):
    shop = Shop(0.2)
    shop.clicks[::3] = 0
    found = shop.assign(make, least_share=0.5, unclicked_share=0.95)
    silent = shop.clicks.sum(axis=1) == 0
    assert (found.weight[silent & (found.group >= 0)] >= 0.95 - 1e-6).all()
    assert (found.weight[~silent] < 0.9).any() and (found.group[silent] >= 0).any()
    assert set(found.evidence[silent]) <= {"", "neighbours"}


def test_a_photo_of_two_things_that_clicked_both_is_in_both(make):
    matrix, looks = world(make, [near(1, 1)], [(0, 0), (0, 1)])
    found = assign(matrix, looks)
    both = Memberships.of(found)
    mine = both.query == matrix.shape[0] - 1
    assert set(both.group[mine]) == {0, 1}
    assert set(both.evidence[mine]) == {"click"}
    assert (both.weight[mine] >= 0.3).all() and both.weight[mine].sum() <= 1 + 1e-6
    assert sum(found.left_out.values()) == 0
    assert (np.bincount(both.query)[:-1] == 1).all()


def test_a_click_on_a_look_alike_is_no_second_thing(make):
    """Items 0 and 6 are twins: a photo nearer to them than they are to each other there is none."""
    rng = np.random.default_rng(0)
    items = np.concatenate([np.eye(GROUPS + 2)[:GROUPS], [near(1, 0.1)]])
    shown = np.repeat(np.arange(GROUPS), EACH)
    photos = items[shown] + 0.15 * rng.normal(size=(len(shown), GROUPS + 2))
    photos = np.concatenate([photos, [items[0] + items[6] + 0.3 * near(0, 0, 1)]])
    clicks = np.zeros((len(photos), GROUPS + 1))
    clicks[np.arange(len(shown)), shown] = 1
    clicks[-1, [0, 6]] = 1
    looks = make.looks(items, photos)
    found = Memberships.of(assign(csr_matrix(clicks), looks, np.arange(GROUPS + 1)))
    assert (found.query == len(photos) - 1).sum() <= 1


def test_far_photos_do_not_join_a_second_group_by_clicks_alone(make):
    far = near(0)
    far[-2:] = 1
    found = Memberships.of(assign(*world(make, [far], [(0, 0), (0, 1)])))
    assert (found.query == found.query.max()).sum() == 1


def test_all_photos_without_picture_or_nothing_clicked_is_no_error(make):
    looks = make.looks(np.eye(3), np.zeros((4, 3)))
    found = assign_queries(csr_matrix((4, 3)), np.arange(3), looks)
    assert found.left_out[NO_PICTURE] == 4
    assert np.isnan(found.noise_share) and len(found.also) == 0


def test_beliefs_in_clicks_are_what_the_share_of_wrong_clicks_comes_from(make):
    shop = Shop(0.4)
    looks, shown = make.looks(shop.items, shop.photos), csr_matrix(shop.shown)
    clicks, group = csr_matrix(shop.clicks), np.arange(PEOPLE)
    right = believe(clicks, group, looks, shown=shown).in_clicks()
    assert ((right >= 0) & (right <= 1 + 1e-9)).all()
    found = assign_queries(clicks, group, looks, shown=shown)
    assert found.noise_share == pytest.approx(1 - right.mean())
    is_right = shop.clicks.argmax(axis=1) == shop.shown_thing
    assert right[is_right].mean() > right[~is_right].mean() + 0.4
