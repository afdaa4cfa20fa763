"""Nearly the same picture: copies of a file are found, twins in another colour or print are not."""

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from oclear.governance.evidence.perceptual_hash import colour_differences, perceptual_hash_edges


def picture(seed, size=240):
    """Some shapes in colour on a shaded ground."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(60, 256, (3, 3, 3)).astype(np.uint8)
    image = Image.fromarray(corners).resize((size, size), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(8):
        x, y = rng.integers(0, size - 60, 2).tolist()
        w, h = rng.integers(20, 100, 2).tolist()
        draw.ellipse((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def encoded(image, kind="JPEG", quality=85):
    file = io.BytesIO()
    image.save(file, kind, quality=quality)
    return file.getvalue()


def pairs(make, images, most=20, **options):
    edges = perceptual_hash_edges(
        make.items(len(images), images=images).pictures(), most, **options
    )
    assert edges.kind == "image_hash" and edges.reason == "nearly the same picture"
    assert ((edges.weight > 0) & (edges.weight <= 1)).all()
    return sorted(zip(edges.a.tolist(), edges.b.tolist(), strict=True))


COPIES = {
    "another quality": lambda i: encoded(i, quality=50),
    "another format": lambda i: encoded(i, "PNG"),
    "smaller": lambda i: encoded(i.resize((160, 160), Image.Resampling.BICUBIC)),
    "larger": lambda i: encoded(i.resize((500, 500), Image.Resampling.BICUBIC)),
    "cropped by a hundredth": lambda i: encoded(i.crop((2, 1, 238, 239))),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_of_a_file_are_found(make, way):
    images = [picture(seed) for seed in range(6)]
    found = pairs(make, [encoded(i) for i in images] + [COPIES[way](i) for i in images])
    assert found == [(k, k + 6) for k in range(6)]


def test_twins_in_another_colour_or_with_a_small_print_are_not(make):
    first = picture(1)
    printed = first.copy()
    ImageDraw.Draw(printed).rectangle((100, 120, 118, 138), fill=(10, 250, 10))
    red, green, blue = first.split()
    recoloured = Image.merge("RGB", (blue, green, red))
    assert pairs(make, [encoded(first), encoded(printed), encoded(recoloured)]) == []
    grey = [np.full((1, 48, 48, 3), c, np.uint8) for c in ((90, 100, 120), (120, 100, 90))]
    assert colour_differences(*grey)[0] == 30


def test_a_picture_of_many_items_is_a_placeholder(make):
    images = [encoded(picture(1), quality=q) for q in (60, 70, 80)] + [encoded(picture(2))] * 2
    assert pairs(make, images, most=2) == [(3, 4)]
    assert pairs(make, images, most=3) == [(0, 1), (0, 2), (1, 2), (3, 4)]


def test_blank_missing_and_broken_pictures_tie_nothing(make):
    white = encoded(Image.new("RGB", (100, 100), "white"))
    assert pairs(make, [white, white, None, None, b"broken", b"broken"]) == []
    assert pairs(make, []) == []


def test_two_pictures_of_one_item_tie_it_to_nothing(make):
    images = [[encoded(picture(1)), encoded(picture(1), quality=60)], [encoded(picture(2))]]
    kind = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    column = pa.array([[{"bytes": b, "path": None} for b in row] for row in images], kind)
    items = make.items(2)
    items = type(items)(items.path, items.table.drop(["image"]).append_column("image", column))
    assert len(perceptual_hash_edges(items.pictures(), 20)) == 0


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.permutations(range(8)))
def test_the_order_of_rows_makes_no_difference(make, order):
    images = [encoded(picture(k // 2), quality=60 + 20 * (k % 2)) for k in range(8)]
    found = pairs(make, [images[k] for k in order])
    assert sorted(sorted((order[a], order[b])) for a, b in found) == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]
