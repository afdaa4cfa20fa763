"""Titles: the same words are one title, nearly the same ones are found, and a number or brand keeps apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.errors import TableError
from oclear.governance.evidence.titles import title_edges, title_words
from oclear.governance.merge import merge_items

FILLER = [f"thing{k} made{k} of{k} stuff{k}" for k in range(30)]


def edges(make, titles, brand=None, seller=None, **options):
    """Edges among the first titles; unlike ones follow, so that words have a usual weight."""
    extra = len(FILLER)
    columns = {"title": [*titles, *FILLER]}
    if brand is not None:
        columns["brand"] = [*brand, *[None] * extra]
    if seller is not None:
        columns["seller"] = [*seller, *[None] * extra]
    items = make.items(len(titles) + extra, **columns)
    return title_edges(
        items,
        brand_column="brand" if brand is not None else None,
        seller_column="seller" if seller is not None else None,
        **options,
    )


def pairs(found):
    return sorted((a, b) for e in found for a, b in zip(e.a.tolist(), e.b.tolist(), strict=True))


def test_order_case_punctuation_width_and_the_place_of_the_brand_make_no_difference(make):
    titles = ["Ilmari tall VASE, blue", "vase - blue/tall", "Ｖａｓｅ　blue tall (ILMARI)", "vase"]
    branded, bare, near = edges(make, titles, brand=["Ilmari", "ILMARI ", "ilmari", "ilmari"])
    assert branded.reason == "same title and brand"
    assert pairs([branded]) == [(0, 1), (1, 2)]
    assert len(bare) == len(near) == 0
    assert branded.weight.tolist() == [1, 1]


def test_without_brands_the_reason_says_so(make):
    branded, bare, _ = edges(make, ["blue vase", "vase blue", None, None, "  ", "!!"])
    assert pairs([bare]) == [(0, 1)] and bare.reason == "same title" and len(branded) == 0


def test_different_brands_keep_the_same_title_apart(make):
    assert pairs(edges(make, ["tall blue vase"] * 2, brand=["Ilmari", "Quill"])) == []


def test_nearly_the_same_titles_are_tied_and_common_words_decide_little(make):
    common = [f"{text} free shipping" for text in FILLER]
    titles = ["ribbed alder lamp walnut", "ribbed alder lamp walnut free shipping", *common]
    *_, near = edges(make, titles, least_similarity=0.7)
    assert (0, 1) in pairs([near]) and near.reason == "nearly the same title"
    # By hand: 30 + 32 listings; "free" is in 31 of them, a word of the lamp in 2.
    rare, often = np.log1p(62 / 2), np.log1p(62 / 31)
    at = pairs([near]).index((0, 1))
    np.testing.assert_allclose(near.weight[at], 4 * rare / (4 * rare + 2 * often), rtol=1e-6)
    assert (0, 1) not in pairs(edges(make, titles, least_similarity=0.9))


@pytest.mark.parametrize(
    ("one", "other", "tied"),
    [
        ("34 cm", "52 cm", False),
        ("34 cm", "34 mm", False),
        ("34 cm", "34cm", True),
        ("No. 3", "No. 7", False),
        ("3,5 l", "3.5 l", True),
        ("xm4", "xm5", False),
        ("letter B", "letter D", False),
        ("34 cm", "", True),
    ],
)
def test_numbers_units_and_letters_that_differ_keep_apart(make, one, other, tied):
    long = "ribbed alder lamp walnut shade brass foot linen cord tall reading"
    found = edges(make, [f"{long} {one}", f"{long} {other}"], least_similarity=0.5)
    assert bool(pairs(found)) == tied


def test_a_title_of_many_items_says_nothing(make):
    titles = ["vase"] * 4 + ["blue lamp"] * 3
    assert pairs(edges(make, titles, most=3)) == [(4, 5), (5, 6)]
    assert pairs(edges(make, ["vase"] * 4, brand=["a", "a", "b", "b"], most=3)) == []


def test_what_one_seller_lists_twice_is_two_products(make):
    titles = ["blue vase", "blue vase", "blue vase", "red lamp", "red lamp"]
    assert pairs(edges(make, titles, seller=["x", "x", "y", "x", "y"])) == [(3, 4)]
    near = ["ribbed alder lamp walnut", "ribbed alder lamp walnut shade"]
    assert pairs(edges(make, near, seller=["x", "x"], least_similarity=0.5)) == []
    assert pairs(edges(make, near, seller=["x", "y"], least_similarity=0.5)) == [(0, 1)]


def test_items_that_may_not_meet_do_not_part_the_others(make):
    """Barcodes 1, 2, 1, 2 under one title, in turns: a chain in the order of rows would tie none."""
    codes = np.concatenate([[0, 1, 0, 1], np.full(len(FILLER), -1)])
    found = edges(make, ["blue vase"] * 4, forbidden=[codes])
    assert merge_items(len(codes), found, [codes]).group[:4].tolist() == [0, 1, 0, 1]


def test_a_missing_column_gets_a_hint(make):
    items = make.items(2, title=["a", "b"], brand=["x", "y"])
    with pytest.raises(TableError, match="Did you mean 'brand'"):
        title_edges(items, brand_column="brnd")
    with pytest.raises(TableError, match="no column 'sellr'"):
        title_edges(items, seller_column="sellr")


def test_empty_tables_and_titles_tie_nothing(make):
    for titles in ([], [None], ["", "-"]):
        items = make.items(len(titles), title=titles)
        if titles != []:
            assert [len(e) for e in title_edges(items)] == [0, 0, 0]


WORDS = st.sampled_from(["red", "blue", "vase", "lamp", "tall", "34 cm", "7", "B"])
LISTING = st.tuples(
    st.lists(WORDS, max_size=4), st.sampled_from([None, "x", "y"]), st.sampled_from([None, "s"])
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(LISTING, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference_and_each_pair_is_there_once(make, listings, random):
    def found(order):
        columns = list(zip(*(listings[k] for k in order), strict=True))
        items = make.items(
            len(order),
            title=[" ".join(words) for words in columns[0]],
            brand=list(columns[1]),
            seller=list(columns[2]),
        )
        return title_edges(
            items, brand_column="brand", seller_column="seller", least_similarity=0.4, most=6
        )

    count = len(listings)
    shuffled = random.sample(range(count), count)
    straight, other = found(range(count)), found(shuffled)
    for one in (*straight, *other):
        assert (one.a < one.b).all() and ((one.weight > 0) & (one.weight <= 1)).all()
        assert len(set(pairs([one]))) == len(one)
    back = np.array(shuffled)
    group = merge_items(count, straight, []).group
    moved = merge_items(count, other, []).group
    assert ((group[back][:, None] == group[back]) == (moved[:, None] == moved)).all()
    brands = [listing[1] for listing in listings]
    for a, b in pairs(straight):
        assert brands[a] == brands[b] or None in (brands[a], brands[b])


@given(st.text(max_size=30))
def test_words_are_the_same_however_a_title_is_shouted(text):
    assert title_words(text) == title_words(f"  {text}  ")
    assert title_words(text.casefold()) == title_words(text)
