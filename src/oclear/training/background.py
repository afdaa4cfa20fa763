"""Cuts things out of catalogue pictures on white, and makes what to stand them on."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

_SIDE = 96
"""The mask is sought on a picture of at most this side: labelling is the slow part."""
_NEAR_WHITE = 238
"""The least of a pixel's channels: white with what JPEG does to it."""
_CARDBOARD = 248
"""White things are a little darker than their background. Single pixels are too, beside JPEG's sharp edges: less than
``_NEAR_WHITE``, this takes half of a pixel's neighbourhood."""
_WHITE_BORDER = 0.75
"""Share of the border that has to be near white: things may reach the edge."""
_SMALLEST = 0.03
"""Share of the area. Less is left of things that are white themselves."""


def foreground_mask(image: Image.Image) -> Image.Image | None:
    """What stands before a white background, by a flood fill from the border.

    White inside the thing stays with it unless it is open to the border.

    Args:
        image: RGB.

    Returns:
        An ``L`` picture of the same size, 255 in the foreground and soft at its edge. None where the border is not
        mostly near white or hardly any foreground is found.
    """
    from scipy.ndimage import label  # only training has it, and settings are read without

    scale = min(1.0, _SIDE / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX)).min(axis=2)
    white = small >= _NEAR_WHITE
    border = np.concatenate([white[0], white[-1], white[:, 0], white[:, -1]])
    if border.mean() < _WHITE_BORDER:
        return None
    off_white = Image.fromarray((small < _CARDBOARD).astype(np.uint8) * 255)
    white &= np.asarray(off_white.filter(ImageFilter.BoxBlur(1))) < 128
    # In a white frame, all white that touches the border is one region: that of the first corner.
    regions, _ = label(np.pad(white, 1, constant_values=True))
    foreground = (regions != regions[0, 0])[1:-1, 1:-1]
    if foreground.mean() < _SMALLEST:
        return None
    mask = Image.fromarray(foreground.astype(np.uint8) * 255)
    mask = mask.resize(image.size, Image.Resampling.BILINEAR)
    # The outermost pixels mix the thing with white: a steep edge further in leaves no white seam.
    return mask.point([min(255, max(0, 3 * (value - 170))) for value in range(256)])


def backdrop(
    photo: Image.Image | None, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """An RGB background of a size (width, height): part of a photo a little out of focus, or one colour.

    Args:
        photo: RGB; None for a plain random colour.
        size: In pixels.
        rng: Draws the part or the colour.
    """
    if photo is None:
        red, green, blue = rng.integers(256, size=3).tolist()
        return Image.new("RGB", size, (red, green, blue))
    share = rng.uniform(0.5, 1)
    left, top = rng.uniform(0, 1 - share, 2)
    width, height = photo.size
    box = (left * width, top * height, (left + share) * width, (top + share) * height)
    # Too few pixels for its size: as soft as a blur of all pixels, and far cheaper.
    few = (max(1, size[0] // 3), max(1, size[1] // 3))
    part = photo.resize(few, Image.Resampling.BILINEAR, box=box)
    return part.resize(size, Image.Resampling.BICUBIC)
