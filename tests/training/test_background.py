"""Things on white are cut out, other pictures are let be."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from oclear.training.background import backdrop, foreground_mask


def disc(fill: str, ground: str = "white", side: int = 240) -> Image.Image:
    image = Image.new("RGB", (side, side), ground)
    ImageDraw.Draw(image).ellipse((side // 4, side // 4, 3 * side // 4, 3 * side // 4), fill=fill)
    return image


def covered(mask: Image.Image | None) -> np.ndarray:
    assert mask is not None
    return np.asarray(mask) > 127


def test_a_red_disc_is_cut_out():
    image = disc("red")
    mask = foreground_mask(image)

    assert mask is not None
    assert (mask.mode, mask.size) == ("L", image.size)
    is_disc = np.asarray(image)[..., 1] < 128
    found = covered(mask)
    assert (found & is_disc).sum() > 0.94 * is_disc.sum()
    assert (found & ~is_disc).sum() < 0.01 * is_disc.sum()


def test_white_inside_a_thing_belongs_to_it():
    image = disc("red")
    ImageDraw.Draw(image).ellipse((100, 100, 140, 140), fill="white")

    assert covered(foreground_mask(image))[120, 120]


def test_pale_cardboard_is_no_background():
    assert covered(foreground_mask(disc("#f4f4f4")))[120, 120]


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.random.default_rng(0).integers(256, size=(90, 120, 3), dtype=np.uint8)),
        Image.new("RGB", (50, 50), "white"),
        Image.new("RGB", (1, 1), "white"),
        disc("white", ground="#808080"),
    ],
    ids=["noise", "all white", "one pixel", "on grey"],
)
def test_nothing_to_cut_out(image):
    assert foreground_mask(image) is None


@pytest.mark.parametrize("size", [(3, 200), (4000, 2), (1, 1)])
def test_masks_and_backdrops_of_any_size(size):
    image = Image.new("RGB", size, "white")
    image.paste((90, 90, 90), (0, size[1] // 3, size[0], size[1] // 3 + 2))
    mask = foreground_mask(image)
    assert mask is None or mask.size == size
    for photo in (None, Image.new("RGB", (5, 7))):
        made = backdrop(photo, size, np.random.default_rng(0))
        assert (made.mode, made.size) == ("RGB", size)
