"""Which photos show several things, and what becomes of each photo."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from oclear.governance.assign.behaviour import Behaviour
from oclear.governance.assign.decide import decide, groups_between
from oclear.governance.assign.memberships import Memberships
from oclear.governance.assign.pairs import Pairs

# Groups 0 and 1 differ, 2 looks like 0.
DOCUMENTS = np.array([[1, 0, 0], [0, 1, 0], [1, 0.2, 0]], np.float32)
BETWEEN_0_AND_1 = np.array([[1, 1, 0]], np.float32) / np.sqrt(2)
LIKE_0_AND_2 = np.array([[1, 0.1, 0.5]], np.float32) / np.linalg.norm([1, 0.1, 0.5])


def between(photo, belief, clicked=(True, True, True), further=0.3, least=0.6):
    pairs = Pairs.entries_of([csr_matrix(np.ones((1, 3)))])
    found = groups_between(
        pairs, photo, DOCUMENTS, np.array(clicked), np.array(belief), further, least
    )
    return np.flatnonzero(found).tolist()


@pytest.mark.parametrize(
    ("photo", "belief", "clicked", "expected"),
    [
        (BETWEEN_0_AND_1, (0.5, 0.45, 0.0), (1, 1, 0), [0, 1]),
        (BETWEEN_0_AND_1, (0.5, 0.45, 0.0), (1, 0, 0), []),  # clicked one only
        (BETWEEN_0_AND_1, (0.7, 0.25, 0.0), (1, 1, 0), []),  # the other is not believed enough
        (BETWEEN_0_AND_1, (0.3, 0.29, 0.0), (1, 1, 0), []),
        (LIKE_0_AND_2, (0.5, 0.0, 0.45), (1, 0, 1), []),  # look-alikes are no two things
        (-BETWEEN_0_AND_1, (0.5, 0.45, 0.0), (1, 1, 0), []),  # near to neither
        (np.zeros((1, 3), np.float32), (0.5, 0.45, 0.0), (1, 1, 0), []),
    ],
)
def test_what_lies_between(photo, belief, clicked, expected):
    assert between(photo, belief, [bool(c) for c in clicked]) == expected


def test_all_clicked_groups_together_need_the_least_share():
    assert between(BETWEEN_0_AND_1, (0.35, 0.32, 0), least=0.66) == [0, 1]
    assert between(BETWEEN_0_AND_1, (0.35, 0.32, 0), least=0.68) == []


def test_each_photo_is_in_with_its_best_group_or_out_for_one_reason():
    clicks = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0]])
    behaviour = Behaviour.of(csr_matrix(clicks), None, csr_matrix(np.eye(3)))
    pairs = Pairs.entries_of([csr_matrix(np.ones((5, 3)))])
    belief = np.array(
        [[0.9, 0.1, 0], [0.4, 0.45, 0.1], [0.2, 0.7, 0], [0.2, 0.1, 0.6], [0.4, 0.3, 0.3]]
    )
    several = np.zeros((5, 3), bool)
    several[1, :2] = True
    has_picture = np.ones(5, bool)
    needed = np.array([0.6, 0.6, 0.6, 0.8, 0.6])
    found = decide(behaviour.on(pairs), belief.ravel(), several.ravel(), has_picture, needed)
    assert found.group.tolist() == [0, 1, 1, -1, -1]
    assert found.evidence.tolist() == ["click", "click", "neighbours", "", ""]
    assert list(found.left_out.values()) == [0, 1, 1]
    assert found.noise_share == pytest.approx(1 - np.mean([0.9, 0.425, 0.2, 0.4]))
    members = Memberships.of(found)
    assert list(zip(members.query, members.group, strict=True)) == [(0, 0), (1, 1), (1, 0), (2, 1)]
    np.testing.assert_allclose(members.weight, [0.9, 0.45, 0.4, 0.7])

    without = decide(behaviour.on(pairs), belief.ravel(), several.ravel(), ~has_picture, needed)
    assert (without.group == -1).all() and len(without.also) == 0
    assert list(without.left_out.values()) == [5, 0, 0]
