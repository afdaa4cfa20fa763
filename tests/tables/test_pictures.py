"""The flat list of pictures: which file or bytes belongs to which row, and what loading gives."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.errors import BadImageError, TableError
from oclear.tables import Items, Pictures, read_items, read_queries


def colours(pictures: Pictures) -> list[Any]:
    return [pictures.load(i).getpixel((0, 0)) for i in range(len(pictures))]


def test_single_paths(shop: Path) -> None:
    pictures = read_items(shop).pictures()
    assert pictures.side == "document"
    assert pictures.keys.tolist() == ["i1", "i2", "i3"]
    assert pictures.parts.tolist() == [0, 0, 0]
    assert colours(pictures) == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert pictures.source(1) == str(shop / "images/b.png")
    expected = hashlib.sha256((shop / "images/b.png").read_bytes()).hexdigest()
    assert pictures.content_hash(1) == expected


def test_lists_of_paths(shop: Path, write: Any) -> None:
    lists = [["images/a.png", "images/b.png"], [], None, ["images/c.png", None]]
    path = write("more.parquet", {"item_id": list("wxyz"), "image_path": lists})
    pictures = read_items(path).pictures()
    assert pictures.keys.tolist() == ["w", "w", "x", "y", "z", "z"]
    assert pictures.parts.tolist() == [0, 1, 0, 0, 0, 1]
    assert pictures.load(1).getpixel((0, 0)) == (0, 255, 0)
    assert pictures.load(4).getpixel((0, 0)) == (0, 0, 255)
    for missing in (2, 3, 5):
        with pytest.raises(BadImageError, match="no picture given"):
            pictures.load(missing)
    assert pictures.source(2) == f"{path}, row 1"


def test_absolute_paths_and_parents(shop: Path, write: Any) -> None:
    paths = [str(shop / "images/a.png"), "../images/b.png", "images/none.png", ""]
    path = write("sub/items.parquet", {"item_id": list("wxyz"), "image_path": paths})
    pictures = read_items(path).pictures()
    assert colours(pictures.select(np.array([0, 1]))) == [(255, 0, 0), (0, 255, 0)]
    with pytest.raises(BadImageError, match="missing file"):
        pictures.load(2)
    with pytest.raises(BadImageError, match="no picture given"):
        pictures.content_hash(3)


@pytest.mark.parametrize("nested", [False, True])
def test_bytes(shop: Path, write: Any, image_bytes: Callable[..., bytes], nested: bool) -> None:
    images: list[Any] = [
        {"bytes": image_bytes("red"), "path": "gone.png"},
        {"bytes": None, "path": "images/b.png"},
        {"bytes": b"", "path": None},
        None,
        {"bytes": None, "path": None},
    ]
    if nested:
        images = [[image] if image else None for image in images]
    path = write("more.parquet", {"item_id": list("vwxyz"), "image": images})
    pictures = read_items(path).pictures()
    assert colours(pictures.select(np.array([0, 1]))) == [(255, 0, 0), (0, 255, 0)]
    assert pictures.content_hash(0) == hashlib.sha256(image_bytes("red")).hexdigest()
    reasons = []
    for i in (2, 3, 4):
        with pytest.raises(BadImageError) as caught:
            pictures.load(i)
        reasons.append(caught.value.reason)
    assert reasons == ["empty file", "no picture given", "no picture given"]


def test_boxes(shop: Path, write: Any) -> None:
    boxes = [[5, 5, 8, 9], None, [500, 500, 600, 600]]
    paths = ["images/a.png"] * 3
    path = write("boxed.parquet", {"query_id": list("abc"), "image_path": paths, "box": boxes})
    pictures = read_queries(path).pictures()
    assert pictures.side == "query"
    assert [pictures.load(i).size for i in (0, 1)] == [(3, 4), (20, 10)]
    assert pictures.content_hash(0) == pictures.content_hash(1)
    with pytest.raises(BadImageError, match="the box is empty or outside the picture"):
        pictures.load(2)
    turned = read_queries(path).select(np.array([1, 0])).pictures()
    assert [turned.load(i).size for i in (0, 1)] == [(20, 10), (3, 4)]


def test_select_by_numbers_and_mask(shop: Path) -> None:
    pictures = read_items(shop).pictures()
    assert pictures.keys.tolist() == ["i1", "i2", "i3"]
    assert pictures.select(np.array([2, 0])).keys.tolist() == ["i3", "i1"]
    assert pictures.select(np.array([2, 0])).select(np.array([1])).keys.tolist() == ["i1"]
    assert colours(pictures.select(np.array([False, False, True]))) == [(0, 0, 255)]


def test_worker_processes_get_no_python_objects(shop: Path) -> None:
    pictures = read_items(shop).pictures()
    assert len(pictures.keys) == 3
    copy = pickle.loads(pickle.dumps(pictures))
    assert "keys" not in vars(copy)
    assert copy.keys.tolist() == pictures.keys.tolist()
    assert colours(copy) == colours(pictures)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=4), max_size=12))
def test_flat_list_agrees_with_the_rows(lists: list[list[str | None] | None]) -> None:
    """Also over chunks: the pictures are the lists one after the other, one entry at least a row."""
    kind = pa.list_(pa.string())
    half = len(lists) // 2
    column = pa.chunked_array([pa.array(lists[:half], kind), pa.array(lists[half:], kind)])
    ids = pa.chunked_array([pa.array([str(i) for i in range(len(lists))], pa.string())])
    items = Items(Path("items.parquet"), pa.table({"item_id": ids, "image_path": column}))
    pictures = items.pictures()
    expected = [
        (str(row), part, path or None)
        for row, paths in enumerate(lists)
        for part, path in enumerate(paths or [None])
    ]
    assert pictures.paths is not None
    flat = pictures.paths.to_pylist()
    found = [
        (key, part, flat[place] if place >= 0 else None)
        for key, part, place in zip(pictures.keys, pictures.parts, pictures.places, strict=True)
    ]
    assert found == expected


def test_one_readable_picture_is_enough(shop: Path, write: Any) -> None:
    paths = ["images/none.png", "images/a.png", "images/gone.png"]
    path = write("some.parquet", {"item_id": list("xyz"), "image_path": paths})
    read_items(path).pictures().require_readable()


def test_a_column_without_a_readable_picture_is_refused(shop: Path, write: Any) -> None:
    (shop / "images/empty.png").write_bytes(b"")
    paths = [["images/empty.png"], ["images/none.png", "images"]]
    path = write("none.parquet", {"item_id": list("xy"), "image_path": paths})
    pictures = read_items(path).pictures()
    with pytest.raises(TableError) as caught:
        pictures.require_readable()
    assert caught.value.column == "image_path"
    assert "not one readable picture among 3; the first, 'images/empty.png' of 'x': empty file" in (
        caught.value.message
    )

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    image = pa.array([{"bytes": b"junk", "path": None}], kind)
    path = write("bytes.parquet", pa.table({"item_id": ["x"], "image": image}))
    with pytest.raises(TableError, match="the first, that of 'x': not an image") as caught:
        read_items(path).pictures().require_readable()
    assert caught.value.column == "image"


def test_of_a_large_table_only_a_thousand_pictures_are_tried(
    shop: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {"item_id": list(range(5000)), "image_path": ["images/none.png"] * 5000}
    pictures = read_items(write("many.parquet", columns)).pictures()
    tried: list[int] = []
    load = Pictures.load
    monkeypatch.setattr(Pictures, "load", lambda s, i, **k: (tried.append(i), load(s, i, **k))[1])
    with pytest.raises(TableError, match="among 1,000 tried"):
        pictures.require_readable()
    assert len(tried) == 1000 and (tried[0], tried[-1]) == (0, 4999)
