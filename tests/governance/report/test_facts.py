"""The numbers of the page, as worked out by hand from the folder in conftest.py."""

import numpy as np
import pytest

from oclear.governance.report.doubt import doubtful_places, holding_together, least_sure
from oclear.governance.report.facts import (
    Bin,
    ItemPairs,
    contradicted,
    evidence_rows,
    families,
    item_pairs,
    item_sizes,
    photo_sizes,
    photo_steps,
    purity_bins,
)


def ids(folder, rows):
    return folder.items.ids[list(rows)].tolist()


def test_where_the_photos_went(tiny):
    steps = photo_steps(tiny.summary)

    assert [n for _, n in steps] == [2, 1, 2, 1]
    assert steps[2][0] == "left out: no click, and nothing near enough"
    assert sum(n for _, n in steps) == tiny.summary["queries"] + 1


def test_sizes(tiny):
    assert item_sizes(tiny) == [Bin("1", 5, 5), Bin("2", 1, 2), Bin("3", 1, 3)]
    assert photo_sizes(tiny) == [Bin("0", 5, 0), Bin("1", 1, 1), Bin("2", 1, 2)]


def test_purity_is_told_of_ids_of_several_members(tiny):
    bins = {each.label: (each.ids, each.members) for each in purity_bins(tiny) if each.ids}

    # ID 1 with five members, ID 3 with three; 0.8 and 0.5 stand at the start of their bars.
    assert bins == {"80–90": (1, 5), "50–70": (1, 3)}


def test_what_evidence_contributed(tiny):
    rows = {row.reason: row for row in evidence_rows(tiny)}

    near = rows["nearly the same title"]
    assert (near.pairs, near.in_one_id, near.refused, near.outweighed) == (2, 1, 1, 0)
    # Clicks tie the same pair of a; the pair of c and the second pair of a have one reason alone.
    alone = {reason: row.alone for reason, row in rows.items()}
    assert alone == {
        "same barcode": 1,
        "nearly the same title": 0,
        "look alike": 1,
        "clicked for the same photos": 0,
    }


def test_what_holds_pairs_together(tiny, open_tiny):
    # a1-a2, a2-a3 and c1-c2 are tied; a1-a3 was judged two things.
    assert item_pairs(tiny) == ItemPairs(4, 3, 0, 1, 0)


def test_without_judgement_pairs_hang_together_by_way_of_others(open_tiny):
    folder = open_tiny(learned=False)

    assert item_pairs(folder) == ItemPairs(4, 3, 0, 0, 1)
    assert families(folder) == []
    assert holding_together(folder, 0).not_kept is None


def test_what_the_matcher_learned(tiny):
    price, words = families(tiny)

    # Words add the score + 1.5, less what the prices add: 0.5 for the first pair, else -0.25.
    together = np.mean([1.0 + 1.5 - 0.5, -0.5 + 1.75, 2.0 + 1.75])
    apart = np.mean([-1.5, 0.75, 1.0, 1.0, 0.5]) + 1.75
    assert (words.name, price.name) == ("words", "price")
    assert (words.together, words.apart) == (pytest.approx(together), pytest.approx(apart))
    assert price.together == pytest.approx((0.5 - 0.25 - 0.25) / 3)
    assert price.apart == pytest.approx(-0.25) and price.gap > words.gap
    assert words.gap == pytest.approx(together - apart)
    assert words.parts == [("words in common", 2.0, 0.5)]


def test_evidence_not_followed_comes_the_strongest_first(tiny):
    found = [(*ids(tiny, (tiny.ties.a[k], tiny.ties.b[k])),) for k in contradicted(tiny, 9)]

    assert found == [("a1", "b1"), ("a1", "d1")]
    assert len(contradicted(tiny, 1)) == 1


def test_doubt_is_the_expected_number_of_wrong_members(tiny):
    # (1 - 0.5) * 3, (1 - 0.8) * 5, then two times 0.25: by ID.
    assert tiny.expected_wrong() == pytest.approx([1.0, 0, 1.5, 0.25, 0.25, 0, 0], abs=1e-6)
    assert tiny.ids[doubtful_places(tiny, 100)].tolist() == [3, 1, 4, 5]
    assert tiny.ids[doubtful_places(tiny, 2)].tolist() == [3, 1]


def test_how_an_id_hangs_together(tiny):
    together = holding_together(tiny, 0)

    assert together.pairs == 3
    assert together.ties == {
        "nearly the same title": 1,
        "look alike": 1,
        "clicked for the same photos": 1,
    }
    scores = tiny.judged.score[together.judged]
    assert scores.tolist() == [-0.5, 1.0, 2.0]
    assert together.not_kept == 0
    assert holding_together(tiny, 2).not_kept == 1
    assert ids(tiny, least_sure(tiny, 0)) == ["a3", "a1", "a2"]
