"""What items say of themselves: equal values, equal files, and columns that say nothing."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.errors import TableError
from oclear.governance.evidence import image_hash
from oclear.governance.evidence.image_hash import image_hash_edges
from oclear.governance.evidence.keys import (
    KNOWN_KEYS,
    codes_of,
    key_edges,
    resolve_columns,
)
from oclear.governance.merge import merge_items
from oclear.tables import SkippedImages


def same_group(count, *edges):
    return merge_items(count, edges, []).group.tolist()


def test_case_and_outer_spaces_are_ignored_and_nothing_is_no_value(make):
    items = make.items(7, mpn=["AB-1", " ab-1 ", None, "", "  ", "ab-2", None])
    assert same_group(7, key_edges(items, "mpn")) == [0, 0, 1, 2, 3, 4, 5]


def test_numbers_and_categoricals_are_compared_too_and_nan_is_no_value(make):
    barcode = pa.array([4006381333931.0, 4006381333931.0, float("nan"), float("nan"), None])
    colour = pa.array(["red", "red", "blue", None, None]).dictionary_encode()
    items = make.items(5, barcode=barcode, number=[1, 1, 2, None, None], colour=colour)
    assert same_group(5, key_edges(items, "barcode")) == [0, 0, 1, 2, 3]
    assert same_group(5, key_edges(items, "number")) == [0, 0, 1, 2, 3]
    assert same_group(5, key_edges(items, "colour")) == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "values",
    [[["a"], ["b"]], [{"x": 1}, {"x": 2}], pa.array([["a"], []], pa.large_list(pa.string()))],
)
def test_a_column_that_holds_more_than_one_value_a_row_is_refused(make, values):
    items = make.items(2, barcode=values)
    with pytest.raises(TableError, match=r"column 'barcode': found .+ values, expected one"):
        codes_of(items, "barcode")


def test_a_constant_column_is_refused_in_one_clear_line(make):
    items = make.items(4, barcode=[None, "a1", "A1 ", "a1"])
    with pytest.raises(TableError) as caught:
        key_edges(items, "barcode")
    assert "\n" not in caught.value.message
    for part in ("'barcode'", "'a1'", "all 3 rows"):
        assert part in caught.value.message
    assert "governance.identity_columns" in (caught.value.hint or "")


def test_a_value_of_most_items_is_refused_too(make):
    own = [f"b{k}" for k in range(20)]
    items = make.items(50, barcode=["0000", *own, *["0000"] * 20, *[None] * 9])
    with pytest.raises(TableError) as caught:
        key_edges(items, "barcode")
    assert caught.value.row == 0
    assert "the same value '0000' in 21 of the 41 rows that have one" in caught.value.message

    fewer = make.items(50, barcode=["0000", *own, "b20", *["0000"] * 20, *[None] * 8])
    assert len(key_edges(fewer, "barcode")) == 20, "half is not most"
    small = make.items(21, barcode=["0000"] * 20 + ["b"])
    assert len(key_edges(small, "barcode")) == 19, "a product may have 20 sellers"


def test_words_for_nothing_tie_nothing(make):
    items = make.items(6, barcode=["N/A", "n/a", "-", "-", "0", "0"])
    assert len(key_edges(items, "barcode")) == 0


def test_two_items_of_one_barcode_are_a_catalogue_too(make):
    assert len(key_edges(make.items(2, barcode=["1", "1"]), "barcode")) == 1


def test_columns_are_found_by_name_and_a_misspelt_one_gets_a_hint(make):
    items = make.items(1, ean=["1"], brand=["x"])
    assert resolve_columns(items, None, KNOWN_KEYS) == ("ean",)
    assert resolve_columns(items, (), KNOWN_KEYS) == ()
    assert resolve_columns(items, ("brand",), KNOWN_KEYS) == ("brand",)
    with pytest.raises(TableError, match="Did you mean 'brand'"):
        resolve_columns(items, ("brnad",), KNOWN_KEYS)


def hash_edges(items, most=20, skipped=None):
    skipped = SkippedImages() if skipped is None else skipped
    return image_hash_edges(items.pictures(), len(items), most, skipped)


def test_items_with_the_same_file_are_tied(make):
    items = make.items(4, images=[b"x", b"y", b"x", b"z"])
    assert same_group(4, hash_edges(items)) == [0, 1, 0, 2]


def test_any_shared_picture_of_several_ties(make):
    images = [[b"x", b"y"], [b"z", b"y"], [b"z", b"z"], [b"w"]]
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    column = pa.array([[{"bytes": b, "path": None} for b in row] for row in images], kind)
    items = make.items(4)
    items = type(items)(items.path, items.table.drop(["image"]).append_column("image", column))
    edges = hash_edges(items)
    assert same_group(4, edges) == [0, 0, 0, 1]
    assert (edges.a < edges.b).all(), "a picture that an item shows twice ties it to nothing"


def test_a_file_of_many_items_is_a_placeholder(make):
    items = make.items(6, images=[b"none"] * 3 + [b"x", b"x", b"y"])
    assert same_group(6, hash_edges(items, most=2)) == [0, 1, 2, 3, 3, 4]
    assert same_group(6, hash_edges(items, most=3)) == [0, 0, 0, 1, 1, 2]


def test_missing_pictures_are_counted_and_tie_nothing(make):
    skipped = SkippedImages()
    items = make.items(4, images=[None, b"x", None, b"x"])
    assert same_group(4, hash_edges(items, skipped=skipped)) == [0, 1, 2, 1]
    assert skipped.table()["key"].to_pylist() == ["i000", "i002"]
    assert len(hash_edges(make.items(2, images=[None, None]))) == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([b"a", b"b", b"c", None]), min_size=1, max_size=20))
def test_hashing_in_pieces_keeps_the_pictures_in_order(make, images):
    """Pieces of 3, so that the last one is often short."""
    items = make.items(len(images), images=images)
    skipped = SkippedImages()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_hash, "_HASHED_AT_ONCE", 3)
        group = np.array(same_group(len(images), hash_edges(items, skipped=skipped)))
    for i, data in enumerate(images):
        expected = [j for j, other in enumerate(images) if j == i or other == data is not None]
        assert np.flatnonzero(group == group[i]).tolist() == expected
    assert len(skipped) == images.count(None)
